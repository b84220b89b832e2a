"""Generated images beside the true ones: translated label maps, dubbed faces, reenacted people."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.generation.evaluation import GenerationEvaluation
from networks.dubbed import Dubbed
from networks.generated import Generated, to_unit_range
from networks.reenacted import Reenacted
from visionscapes.errors import UserError

DUB = "dub"
SUBJECT = "subject"
RECONSTRUCTION = "reconstruction"  # of a translation a part; of a dubbed video the setting in which there is a truth
AT_ONCE = 32  # frames, for memory must not grow with the length of a video


class Compared(NamedTuple):
    """Images of several methods and the true ones.

    Attributes:
        methods: name to (N, 3, H, W) in [0, 1].
        truth: (N, 3, H, W) in [0, 1], which all methods share.
        aligned: whether image n should look like truth n, and not only be of their kind.
    """

    methods: dict[str, Tensor]
    truth: Tensor
    aligned: bool


class ComparisonEvaluation(GenerationEvaluation):
    """Base of the protocols that compare generated images with true ones, each image for itself or all together.

    Beside translated images it takes dubbed faces, batches of task "dub", for which ``validation_step`` or
    ``test_step`` returns a ``networks.dubbed.Dubbed``: the frames in which a face was found, against those of the
    video, see ``compared_frames``. Methods are then the settings of the pairs, "reconstruction" and "cross". Of
    reenacted people, batches of task "subject", for which the steps return a dictionary of
    ``networks.reenacted.Reenacted``, see ``compared_targets``, methods are its keys, such as "K = 4".

    Args:
        validate: whether to measure in validation epochs too, and not in tests alone.

    Raises:
        UserError: in the run, a module that returns neither.
    """

    @abstractmethod
    def compare(self, trainer: Trainer, pl_module: LightningModule, compared: Compared) -> None:
        """Measure some images; ``metric`` gives the metrics."""

    @override
    def measure(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Mapping[str, Any]) -> None:
        if batch.get("task") == DUB:
            for compared in compared_frames(dubbed_of(self, pl_module, outputs), batch):
                self.compare(trainer, pl_module, compared)
        elif batch.get("task") == SUBJECT:
            for compared in compared_targets(reenacted_of(self, pl_module, outputs), batch):
                self.compare(trainer, pl_module, compared)
        super().measure(trainer, pl_module, outputs, batch)

    @override
    def update(self, trainer: Trainer, pl_module: LightningModule, generated: Generated, batch: Any) -> None:
        methods = {"image": to_unit_range(generated.image)}
        if RECONSTRUCTION in generated.parts:  # of the parts it alone is an image itself
            methods[RECONSTRUCTION] = to_unit_range(generated.parts[RECONSTRUCTION])
        self.compare(trainer, pl_module, Compared(methods, batch["image"].float(), aligned=True))


def compared_frames(dubbed: Dubbed, batch: Mapping[str, Any]) -> Iterator[Compared]:
    """Yield the frames of a dubbed video that have a face, some at once.

    In the setting "reconstruction" the first does not count, for it is what the generator was given.

    Args:
        dubbed: T faces.
        batch: of task "dub", with "faces" (1, T, 3, S, S) uint8, "found" (1, T) and "setting" [str].
    """
    setting: str = batch["setting"][0]
    found = batch["found"][0].to(dubbed.faces.device, copy=True)
    if setting == RECONSTRUCTION:
        found[:1] = False
    for frames in found.nonzero().flatten().split(AT_ONCE):
        truth = batch["faces"][0].to(frames.device)[frames].float() / 255
        yield Compared({setting: dubbed.faces[frames].float()}, truth, aligned=setting == RECONSTRUCTION)


def compared_targets(reenacted: Mapping[str, Reenacted], batch: Mapping[str, Any]) -> Iterator[Compared]:
    """Yield the targets of a person whose landmarks are known, for there is no asking for others, some at once.

    Args:
        reenacted: method to T images.
        batch: of task "subject", with "image" (1, T, 3, S, S) uint8 and "found" (1, T) bool.
    """
    images = batch["image"][0]
    for targets in batch["found"][0].nonzero().flatten().split(AT_ONCE):
        methods = {name: each.images[targets.to(each.images.device)].float() for name, each in reenacted.items()}
        yield Compared(methods, images[targets.to(images.device)].float() / 255, aligned=True)


def reenacted_of(callback: Callback, pl_module: LightningModule, outputs: Any) -> dict[str, Reenacted]:
    """Return what a step has returned for a batch of task "subject".

    Raises:
        UserError: it is no dictionary of ``Reenacted``.
    """
    if not isinstance(outputs, Mapping) or not all(isinstance(each, Reenacted) for each in outputs.values()):
        raise UserError(
            f"{type(callback).__name__} needs reenacted people, which {type(pl_module).__name__} does not return for a "
            "batch of task 'subject': use it with LSR, or leave the callback out"
        )
    return dict(outputs)


def dubbed_of(callback: Callback, pl_module: LightningModule, outputs: Any) -> Dubbed:
    """Return what a step has returned for a batch of task "dub".

    Raises:
        UserError: it is no ``Dubbed``.
    """
    if not isinstance(outputs, Dubbed):
        raise UserError(
            f"{type(callback).__name__} needs dubbed faces, which {type(pl_module).__name__} does not return for a "
            "batch of task 'dub': use it with a module that dubs, such as Diff2Lip, or leave the callback out"
        )
    return outputs
