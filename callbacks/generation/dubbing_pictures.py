"""Pictures and films of dubbed test clips, and of how a frame comes out of noise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol, runtime_checkable

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.generation.comparison import DUB, RECONSTRUCTION, dubbed_of
from callbacks.generation.evaluation import generating
from callbacks.generation.film import save_film, save_gif
from callbacks.generation.pictures import new_grid, show, to_bytes
from callbacks.results.figures import save_figure
from networks.audio import FRAME_RATE
from visionscapes.checks import Bounds, PositiveInt, check_options

CROSS = "cross"
VIDEO, DRIVING, DUBBED = "video", "mouth of\nthe sound", "dubbed"


class ShownPair(NamedTuple):
    """A dubbed pair as it is shown.

    Attributes:
        name: of the pair.
        rows: what is shown to the faces (T, 3, S, S) uint8 on the CPU.
        sound: (N,) at 16 kHz.
    """

    name: str
    rows: dict[str, Tensor]
    sound: Tensor


@runtime_checkable
class Traces(Protocol):
    """A module that shows how it makes frames out of noise."""

    def trace(self, faces: Tensor, reference: Tensor, frame_mel: Tensor, *, steps: int, landmarks: Tensor) -> Any:
        """Return an object with ``steps``, K times t, and ``noised`` and ``samples`` (K, T, 3, h, w) in [-1, 1]."""
        ...


class DubbingPictures(Callback):
    """Draws the first dubbed pairs of a test (figures 6.11 to 6.13).

    It takes what ``test_step`` returns for batches of task "dub", a ``networks.dubbed.Dubbed``. In pictures/ of the run
    folder: dubbed_reconstruction.png and dubbed_cross.png, of a few pairs some frames of the video, of the clip that
    the sound is from and of the dubbed one below each other; denoising.png, x_t above and the estimate of x_0 below as
    t goes from T to 0, of a module that has ``trace``; dubbed.mp4, the video, the dubbed one and the mouth that
    the sound is from beside each other, with the sound, of the first pair of the setting "cross" if there is one; and
    dubbed.gif, the same without sound. Under DDP the first process draws what it sees.

    Args:
        pairs: to show of each setting.
        frames: of each, at equal intervals.
        steps: t of denoising.png.
        film: whether to write the mp4 and the GIF.

    Raises:
        UserError: an option is out of its bounds; in the run, a module that dubs nothing.
    """

    def __init__(
        self,
        pairs: PositiveInt = 2,
        frames: Annotated[int, Bounds(least=2, most=24)] = 8,
        steps: Annotated[int, Bounds(least=2, most=24)] = 8,
        film: bool = True,
    ):
        check_options(DubbingPictures, locals())
        self.pairs, self.frames, self.steps, self.film = pairs, frames, steps, film
        self._shown: dict[str, list[ShownPair]] = {}
        self._traced: dict[str, tuple[list[int], Tensor]] = {}

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown, self._traced = {}, {}

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
        if not trainer.is_global_zero or not isinstance(batch, Mapping) or batch.get("task") != DUB:
            return
        setting = batch["setting"][0]
        shown = self._shown.setdefault(setting, [])
        if len(shown) >= self.pairs:
            return
        shown.append(shown_pair(to_bytes(dubbed_of(self, pl_module, outputs).faces), batch))
        if setting not in self._traced and isinstance(pl_module, Traces):
            with generating(trainer):
                self._traced[setting] = traced(pl_module, batch, self.steps)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = Path(trainer.default_root_dir) / "pictures"
        for setting, pairs in self._shown.items():
            save_strips(pairs, self.frames, folder / f"dubbed_{setting}.png")
        if self._traced:
            save_denoising(*self._traced.get(CROSS, next(iter(self._traced.values()))), folder / "denoising.png")
        if self._shown and self.film:
            first = self._shown.get(CROSS, next(iter(self._shown.values())))[0]
            faces = list(first.rows.values())
            save_film(faces, first.sound, folder / "dubbed.mp4")
            save_gif(faces, folder / "dubbed.gif")
        self._shown, self._traced = {}, {}


def shown_pair(generated: Tensor, batch: Mapping[str, Any]) -> ShownPair:
    """Return what is shown of a pair.

    Args:
        generated: (T, 3, S, S) uint8.
        batch: of task "dub"; without "driving_faces" the clip of the sound is not shown.
    """
    rows = {VIDEO: batch["faces"][0].cpu(), DUBBED: generated.cpu()}
    if batch["setting"][0] != RECONSTRUCTION and "driving_faces" in batch:
        rows[DRIVING] = batch["driving_faces"][0].cpu()
    return ShownPair(batch["name"][0], rows, batch["audio"][0].float().cpu())


def traced(module: Traces, batch: Mapping[str, Any], steps: int) -> tuple[list[int], Tensor]:
    """Return the times t and the pictures (2, K, 3, h, w) in [0, 1], x_t and the estimates, of a frame of a pair.

    It is the frame in which the mouth that the sound is from is open widest, or the middle one if nobody knows.
    """
    frames = len(batch["faces"][0])
    at = int(batch["driving_opening"][0].argmax()) if "driving_opening" in batch else frames // 2
    source = 0 if batch["setting"][0] == RECONSTRUCTION else at  # the frame that the generator is given
    face = batch["faces"][0][source : source + 1].float() / 255
    landmarks = batch["landmarks"][0][source : source + 1]
    found = module.trace(face, face, batch["frame_mel"][0][at : at + 1], steps=steps, landmarks=landmarks)
    pictures = torch.stack([found.noised[:, 0], found.samples[:, 0]]).float().cpu()
    return list(found.steps), ((pictures + 1) / 2).clamp(0, 1)


def save_strips(pairs: list[ShownPair], frames: int, path: Path) -> None:
    """Write a picture with a column a frame and for each pair a row each of what is shown of it."""
    rows = [(name, faces) for pair in pairs for name, faces in sorted(pair.rows.items(), key=_order)]
    figure, panels = new_grid(len(rows), frames, side=1.2)
    for line, (name, faces) in zip(panels, rows, strict=True):
        line[0].text(-0.06, 0.5, name, rotation=90, ha="right", va="center", fontsize=8, transform=line[0].transAxes)
        for panel, at in zip(line, spread(len(faces), frames), strict=True):
            show(panel, faces[at].float() / 255)
            if name == VIDEO:
                panel.set_title(f"{at / FRAME_RATE:.2f} s", fontsize=8, pad=2)
    save_figure(figure, path)


def save_denoising(steps: list[int], pictures: Tensor, path: Path) -> None:
    """Write a picture with a column a time t, x_t above and the estimate of x_0 below (2, K, 3, h, w) in [0, 1]."""
    height, width = pictures.shape[-2:]
    figure, panels = new_grid(2, len(steps), side=1.3, height=1.3 * height / width)
    for column, step in enumerate(steps):
        panels[0, column].set_title(f"t = {step}", fontsize=8, pad=2)
    for line, images, name in zip(panels, pictures, ("$x_t$", r"$\hat{x}_0$"), strict=True):
        line[0].text(-0.06, 0.5, name, rotation=90, ha="right", va="center", fontsize=9, transform=line[0].transAxes)
        for panel, image in zip(line, images, strict=True):
            show(panel, image)
    save_figure(figure, path)


def spread(count: int, most: int) -> list[int]:
    """Return ``most`` of the numbers below ``count``, at equal intervals; some twice where there are fewer."""
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _order(row: tuple[str, Tensor]) -> int:
    return (VIDEO, DRIVING, DUBBED).index(row[0])
