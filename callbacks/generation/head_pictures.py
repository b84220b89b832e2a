"""Pictures and films of the people that a test reenacts."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.generation.comparison import SUBJECT, reenacted_of
from callbacks.generation.evaluation import generating
from callbacks.generation.film import save_film, save_gif
from callbacks.generation.head_grids import (
    EXACT,
    LAYOUT,
    ORACLE,
    PROBABILITIES,
    ShownSubject,
    coloured,
    mixed_colours,
    save_cross_subject,
    save_layouts,
    save_many_shots,
    save_single_shot,
)
from callbacks.generation.pictures import to_bytes
from metrics.keypoint_error import pose_differences
from networks.audio import FRAME_RATE
from networks.reenacted import Reenacted, Reenacts, parsed_method, shot_numbers
from visionscapes.checks import Bounds, PositiveInt, check_options

APART = 2.0  # frames a second where targets have nothing to do with each other


class HeadPictures(Callback):
    """Draws the first people of a test (Figures 6.3 to 6.5, 6.7 and 6.8 of the thesis).

    It takes what ``test_step`` returns for batches of task "subject", a dictionary of ``networks.reenacted.Reenacted``.
    In pictures/ of the run folder:

    - layouts.png: a target, the face parser's label map, the exact one, the layout that was predicted, by its arg max
      and by the mean colours of its labels, and the output; of the method with the most shots. What is not there is
      left out. Colours of a layout that nobody teaches labels any more (thesis 6.1.1.4) mean nothing by themselves.
    - single_shot.png: source, target and output of one shot, for targets whose pose differs little, more and much from
      the source's, with the difference, see ``metrics.keypoint_error.pose_differences``.
    - many_shots.png: source, target and the outputs of all methods, for the target of each person whose pose differs
      from the source's as much as those of half of its others.
    - cross_subject.png: every person in the pose of every other, with the driver's landmarks as they are (thesis
      6.1.2.3); of a module that has ``reenact``.
    - driven.mp4 and driven.gif: source, targets and outputs of the first person; where targets are not the frames of a
      video ("consecutive" of the batch), two a second.

    Under DDP the first process draws whom it sees.

    Args:
        people: to show.
        shots: K of cross_subject.png; all of a person that has fewer.
        film: whether to write the mp4 and the GIF.

    Raises:
        UserError: an option is out of its bounds; in the run, a module that reenacts nobody.
    """

    def __init__(
        self, people: Annotated[int, Bounds(least=1, most=12)] = 4, shots: PositiveInt = 32, film: bool = True
    ):
        check_options(HeadPictures, locals())
        self.people, self.shots, self.film = people, shots, film
        self._shown: list[ShownSubject] = []

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = []

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.is_global_zero or not isinstance(batch, Mapping) or batch.get("task") != SUBJECT:
            return
        reenacted = reenacted_of(self, pl_module, outputs)
        if len(self._shown) < self.people and reenacted and bool(batch["found"].any()):
            self._shown.append(shown_subject(reenacted, batch, self.shots))

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._shown:
            return
        folder = Path(trainer.default_root_dir) / "pictures"
        save_layouts(self._shown, folder / "layouts.png")
        save_single_shot(self._shown, folder / "single_shot.png")
        save_many_shots(self._shown, folder / "many_shots.png")
        if isinstance(pl_module, Reenacts) and len(self._shown) > 1:
            with generating(trainer):
                reenact = partial(in_the_pose_of, pl_module, pl_module.device)
                save_cross_subject(self._shown, folder / "cross_subject.png", reenact)
        if self.film:
            save_driven(self._shown[0], folder)
        self._shown = []


def shown_subject(reenacted: Mapping[str, Reenacted], batch: Mapping[str, Any], shots: int) -> ShownSubject:
    """Return what is shown of a person.

    Args:
        reenacted: method to T images.
        batch: of task "subject".
        shots: how many are kept for the poses of others, at most.
    """
    person = {key: value[0].cpu() for key, value in batch.items() if isinstance(value, Tensor) and value.ndim}
    found = person["found"]
    chosen = shot_numbers(len(person["shots"]), min(shots, len(person["shots"])))
    labels = person["labels"][found] if "labels" in person else None
    marks = (person[key].float() for key in ("shot_landmarks", "landmarks"))
    source, targets = next(marks)[:1], next(marks)[found]
    last = max(reenacted, key=lambda name: parsed_method(name) or (0, False))
    return ShownSubject(
        name=batch["name"][0],
        shots=person["shots"][chosen],
        shot_drawings=person["shot_drawings"][chosen],
        targets=person["image"][found],
        drawing=person["drawing"][found],
        outputs={name: to_bytes(each.images).cpu()[found] for name, each in reenacted.items()},
        differences=pose_differences(source, targets),
        labels=labels,
        maps=shown_maps(reenacted[last].layout, person, found),
        consecutive=bool(torch.as_tensor(batch.get("consecutive", False)).all()) and bool(found.all()),
    )


def shown_maps(layout: Tensor | None, person: Mapping[str, Tensor], found: Tensor) -> dict[str, Tensor]:
    """Return what is shown of label maps and a layout (T, C, S, S), nothing where there is no layout."""
    if layout is None:
        return {}
    given = {ORACLE: "labels", EXACT: "true_labels"}
    maps = {name: coloured(person[key][found]) for name, key in given.items() if key in person}
    probabilities = layout.float().cpu()[found]
    return {**maps, LAYOUT: coloured(probabilities.argmax(1)), PROBABILITIES: mixed_colours(probabilities)}


def in_the_pose_of(
    module: Reenacts, device: torch.device, source: ShownSubject, driver: ShownSubject, target: int
) -> Tensor:
    """Return a person (3, S, S) uint8 in the pose of another one's target."""
    one = slice(target, target + 1)
    given = [each.to(device).float() / 255 for each in (source.shots, source.shot_drawings, driver.drawing[one])]
    labels = None if driver.labels is None else driver.labels[one].to(device)
    return to_bytes(module.reenact(*given, labels=labels).images)[0].cpu()


def save_driven(subject: ShownSubject, folder: Path) -> None:
    """Write the films of a person into a folder."""
    source = subject.shots[:1].expand_as(subject.targets)
    clips = [source, subject.targets, subject.outputs[subject.best()]]
    rate = float(FRAME_RATE) if subject.consecutive else APART
    save_film(clips, None, folder / "driven.mp4", rate=rate)
    save_gif(clips, folder / "driven.gif", rate=rate)
