"""Whether the person comes from the shots: the same drawings with a person's own shots and with another person's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.generation.comparison import SUBJECT
from callbacks.generation.evaluation import generating, report
from callbacks.generation.pictures import to_bytes
from callbacks.results.presentation import LOWER, SHARE, MetricKind, Presentation
from callbacks.results.result import Result
from metrics.estimate import Estimate, mean_estimate
from metrics.region_colours import REGIONS, nearest_colours, region_colours
from networks.identity import IdentityEmbedder, SmallIdentity
from networks.reenacted import Reenacts, shot_numbers
from visionscapes.checks import Bounds, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.processes import gather_entries

OWN, ANOTHER, TRUTH, CHANCE = "own shots", "another's shots", "truth", "chance"
L1, NEARER, NAMED, NAMED_BY_PERSON = "L1", "own is nearer", "colours name", "colours but the background's name"
TO_SOURCE, TO_DRIVER = "ID-SIM to the source", "ID-SIM to the driver"
_SIMILARITY = MetricKind("higher", digits=".3f", errors=True)


@dataclass(frozen=True)
class ShownPerson:
    """A person of the test, on the CPU.

    Attributes:
        shots: (K, 3, S, S) uint8.
        shot_drawings: (K, 3, S, S) uint8.
        image: (T, 3, S, S) uint8, some targets.
        drawing: (T, 3, S, S) uint8 of these.
        labels: (T, S, S) uint8 of a face parser, None without one.
        true_labels: (T, S, S) uint8, None where nobody knows them.
        colours: (R, 3) float64, mean colours of the regions of other targets; None without any, or exact label maps.
    """

    shots: Tensor
    shot_drawings: Tensor
    image: Tensor
    drawing: Tensor
    labels: Tensor | None
    true_labels: Tensor | None
    colours: Tensor | None

    @classmethod
    def of(cls, batch: Mapping[str, Any], shots: int, targets: int) -> "ShownPerson | None":
        """Return the person of a batch of task "subject", None if no target has landmarks."""
        known = batch["found"][0].nonzero().flatten().cpu()
        if not len(known):
            return None
        person = {key: value[0].cpu() for key, value in batch.items() if isinstance(value, Tensor) and value.ndim}
        chosen = shot_numbers(len(person["shots"]), min(shots, len(person["shots"])))
        some = known[shot_numbers(len(known), min(targets, max(len(known) // 2, 1)))]
        others = known[~torch.isin(known, some)]
        colours = None
        if "true_labels" in person and len(others):
            colours = region_colours(person["image"][others] / 255, person["true_labels"][others]).nanmean(0)
        labels, true_labels = (person[key][some] if key in person else None for key in ("labels", "true_labels"))
        return cls(
            shots=person["shots"][chosen],
            shot_drawings=person["shot_drawings"][chosen],
            image=person["image"][some],
            drawing=person["drawing"][some],
            labels=labels,
            true_labels=true_labels,
            colours=colours,
        )


@dataclass(frozen=True)
class ControlledPerson:
    """What came of a person.

    Attributes:
        own: L1 with the own shots, on the scale of 0 to 255.
        another: L1 with those of another person.
        to_source: ID-SIM of the outputs with those to the shots, this person's pose driving the other.
        to_driver: the same to the true pictures of this person.
        generated: (T, R, 3) colours of the regions of the output with the own shots; None without label maps.
        true: (T, R, 3) of the true pictures of the same targets.
        colours: (R, 3) of other true pictures of the person.
    """

    own: float
    another: float
    to_source: float
    to_driver: float
    generated: Tensor | None
    true: Tensor | None
    colours: Tensor | None


class ShotControl(Callback):
    """Reenacts every person of a test from the own shots, and from those of the person before, in the same poses.

    For a module that has ``reenact``, see ``networks.reenacted.Reenacts``, on batches of task "subject". Protocol
    "shot_control"; a network that makes nothing of its shots gives the same both times. Figures are means over people,
    which the count is of:

    - "L1" with "own shots" and with "another's shots", those of the person before in the order of names, the last one's
      for the first, and the share of people for whom the "own is nearer".
    - "ID-SIM to the source" and "ID-SIM to the driver" with "another's shots": there the person of the shots is
      driven by somebody else (thesis 6.1.2.3), and the cosine of embeddings says whether the output is who the shots
      show, or who is in the pictures that the drawings are of.
    - Where there are exact label maps, the share of targets in which the "colours name" the person among 16: the mean
      colours of skin, hair, lips, hat, clothes and background of the output, at the places where the true picture has
      them, are nearest to those of other true pictures of the same person; and the same without the background. Beside
      it that share of the "truth", the true pictures of the same targets, and of "chance".

    Args:
        shots: K; all of a person that has fewer.
        targets: of each person, at equal intervals; half of those that there are at most, for the others say what the
            person's colours are.
        candidates: people of whom one is to be named; all, if there are fewer.
        embedder: of identities; None for the network of this repository, which knows drawn people.

    Raises:
        UserError: an option is out of its bounds; in the run, a module that has no ``reenact``.
    """

    protocol = "shot_control"
    presentation = Presentation(
        "Whether the person comes from the shots", SHARE, {L1: LOWER, "ID-SIM": _SIMILARITY}, ranked=False
    )

    def __init__(
        self,
        shots: PositiveInt = 4,
        targets: PositiveInt = 8,
        candidates: Annotated[int, Bounds(least=2)] = 16,
        embedder: IdentityEmbedder | None = None,
    ):
        check_options(ShotControl, locals())
        self.shots, self.targets, self.candidates, self.embedder = shots, targets, candidates, embedder
        self.results: list[Result] = []
        self._people: dict[str, ShownPerson] = {}

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._people = {}

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
        if not isinstance(batch, Mapping) or batch.get("task") != SUBJECT:
            return
        if not isinstance(pl_module, Reenacts):
            raise UserError(
                f"ShotControl reenacts people anew, which {type(pl_module).__name__} cannot: use it with LSR, or leave "
                "the callback out"
            )
        person = ShownPerson.of(batch, self.shots, self.targets)
        if person is not None:
            self._people[batch["name"][0]] = person

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        shots = gather_entries({name: (each.shots, each.shot_drawings) for name, each in self._people.items()})
        names = sorted(shots)
        if len(names) < 2:
            if names:
                pl_module.print("ShotControl: there is one person in the test, and no other's shots to compare with")
            return
        assert isinstance(pl_module, Reenacts)
        before = dict(zip(names, [names[-1], *names], strict=False))
        judge = (SmallIdentity() if self.embedder is None else self.embedder).requires_grad_(False).eval()
        with generating(trainer):
            mine = {
                name: controlled(pl_module, person, shots[before[name]], judge.to(pl_module.device))
                for name, person in self._people.items()
            }
        people = gather_entries(mine)
        size = next(iter(shots.values()))[0].shape[-1]
        self.results = self.rows([people[name] for name in names], size)
        report(self.results, self.protocol, trainer, pl_module)
        self._people = {}

    def rows(self, people: list[ControlledPerson], size: int) -> list[Result]:
        """Return the rows of all people in the order of their names, S = size."""
        own, another, to_source, to_driver = (
            torch.tensor([getattr(each, key) for each in people])
            for key in ("own", "another", "to_source", "to_driver")
        )
        figures = {
            (L1, OWN): mean_estimate(own),
            (L1, ANOTHER): mean_estimate(another),
            (NEARER, OWN): mean_estimate((own < another).double()),
            (TO_SOURCE, ANOTHER): mean_estimate(to_source),
            (TO_DRIVER, ANOTHER): mean_estimate(to_driver),
        }
        coloured = [each for each in people if each.colours is not None]
        if len(coloured) > 1:
            figures |= self._named(coloured)
        return [
            Result(
                self.protocol,
                metric,
                method,
                image_size=size,
                value=float(each.value),
                standard_error=float(each.standard_error),
                count=each.count,
            )
            for (metric, method), each in figures.items()
        ]

    def _named(self, people: list[ControlledPerson]) -> dict[tuple[str, str], Estimate]:
        """Return how often colours name the right one of some people."""
        colours = torch.stack([each.colours for each in people if each.colours is not None])
        among = min(self.candidates, len(people))
        figures: dict[tuple[str, str], Estimate] = {}
        chance = Estimate(torch.tensor(1 / among), torch.tensor(torch.nan), len(people))
        person = [place for place, name in enumerate(REGIONS) if name != "background"]
        for metric, regions in ((NAMED, list(range(len(REGIONS)))), (NAMED_BY_PERSON, person)):
            for method, pictures in ((OWN, "generated"), (TRUTH, "true")):
                right = []
                for place, each in enumerate(people):
                    first = min(place // among * among, len(people) - among)
                    nearest = nearest_colours(
                        getattr(each, pictures)[:, regions], colours[first : first + among, regions]
                    )
                    right.append((nearest + first == place).double().mean())
                figures[metric, method] = mean_estimate(torch.stack(right))
            figures[metric, CHANCE] = chance
        return figures


def controlled(
    module: Reenacts, person: ShownPerson, other: tuple[Tensor, Tensor], judge: IdentityEmbedder
) -> ControlledPerson:
    """Return what comes of a person.

    Args:
        module: that reenacts.
        person: whom.
        other: shots and their drawings (K, 3, S, S) uint8 of another person.
        judge: of identities, on the device of the module.
    """
    device = next(judge.parameters()).device

    def made(shots: Tensor, drawings: Tensor) -> Tensor:
        given = [each.to(device).float() / 255 for each in (shots, drawings, person.drawing)]
        labels = None if person.labels is None else person.labels.to(device)
        return to_bytes(module.reenact(*given, labels=labels).images).cpu()

    def embedded(images: Tensor) -> Tensor:
        with torch.autocast(device.type, enabled=False):
            return judge(images.to(device).float() / 255).cpu()

    outputs = [made(person.shots, person.shot_drawings), made(*other)]
    own, another = (float((each.double() - person.image.double()).abs().mean()) for each in outputs)
    crossed = embedded(outputs[1])
    controls = {
        "own": own,
        "another": another,
        "to_source": float((crossed @ embedded(other[0]).T).mean()),
        "to_driver": float((crossed * embedded(person.image)).sum(1).mean()),
    }
    if person.true_labels is None:
        return ControlledPerson(**controls, generated=None, true=None, colours=None)
    generated, true = (region_colours(each / 255, person.true_labels) for each in (outputs[0], person.image))
    return ControlledPerson(**controls, generated=generated, true=true, colours=person.colours)
