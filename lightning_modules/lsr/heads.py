"""Modules that give a person another pose: what all stages of LSR share."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.adversarial import AdversarialModule
from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.lsr.experts import HeadExpertOptions
from lightning_modules.lsr.exporting import heads
from lightning_modules.lsr.loss_options import LayoutLossOptions
from lightning_modules.lsr.network import signed
from lightning_modules.lsr.people import Person, checked_shots, evaluating, first, subject_shots
from lightning_modules.origin import KnowsOrigin
from networks.companion import Companion
from networks.reenacted import Reenacted, method_name
from visionscapes.checks import Among, Bounds, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.exporting.parts import Exportable
from visionscapes.results import MadeVideo


@dataclass(frozen=True)
class EvaluationOptions:
    """How people are reenacted in validation and test.

    Args:
        shots: K, as often as results are wanted; any, whatever the K of the training.
        finetune: whether there are results of networks that were fine-tuned on the shots too (6.1.1.5).
        batch: images that are made at a time.

    Raises:
        UserError: an option out of its bounds.
    """

    shots: tuple[Annotated[int, Bounds(least=1), Among(1, different=True)], ...] = (1,)
    finetune: bool = False
    batch: PositiveInt = 32

    def __post_init__(self) -> None:
        check_options(EvaluationOptions, vars(self))


class HeadModule(KnowsOrigin, AdversarialModule):
    """Base of the stages of LSR: networks that know a person by K shots, in the poses of drawings of landmarks.

    Training batches, task "heads": "shots" and "shot_drawings" (B, K, 3, S, S), "image" and "drawing" (B, 3, S, S), all
    float32 in [0, 1], and "labels" (B, S, S) uint8, an oracle's label map of the image; the image is none of the shots.
    Batches of validation and test, task "subject", are one person: "shots" and "shot_drawings" (1, N, 3, S, S) uint8,
    "drawing" (1, T, 3, S, S) uint8, and where there are some, "labels" (1, T, S, S). Batches of prediction, task
    "reenact", are a part of one driving sequence for one "source": "shots" and "shot_drawings" (K, 3, S, S) uint8,
    "drawing" (F, 3, S, S) uint8, and "finetune".

    Args:
        generator: the network that reenacts.
        discriminator: None for none.
        classes: C, labels of the layout.
        image_size: S in pixels.
        losses: the weight of each loss.
        experts: the frozen networks of the losses.
        evaluation: how people are reenacted in validation and test.
        adversarial: the game of generator and discriminator.
        optimizer: how both step.
        hardware: what makes it faster.

    Attributes:
        fine_tuned: whether the network was trained for one person.
    """

    takes = "datamodules.clips.heads.given.GivenHeads"
    gives = "MadeVideo: the person of the source in the poses of the driver"
    fixed_inputs = ("image_size",)
    fine_tuned = False
    _person: Person | None = None  # the last that was met in prediction

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module | None,
        *,
        classes: int,
        image_size: int,
        losses: LayoutLossOptions,
        experts: HeadExpertOptions,
        evaluation: EvaluationOptions,
        adversarial: AdversarialOptions,
        optimizer: OptimizerOptions,
        hardware: HardwareOptions,
    ):
        super().__init__(generator, discriminator, adversarial=adversarial, optimizer=optimizer, hardware=hardware)
        self.classes, self.image_size = classes, image_size
        self.losses, self.experts, self.evaluation = losses, experts, evaluation
        self.perceptual: Companion | None = None
        self.faces: Companion | None = None

    # ------------------------------------------------------------------------------------------- what differs

    @abstractmethod
    def codes(self, network: Any, shots: Tensor, drawings: Tensor) -> Any:
        """Return what a network like ``generator`` makes of shots (1, K, 3, S, S) of one person."""

    @abstractmethod
    def made(self, network: Any, drawing: Tensor, codes: Any, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return images (T, 3, S, S) in about [-1, 1] and layouts (T, C, S, S) that the network makes of drawings."""

    @abstractmethod
    def call_experts(self) -> None:
        """Get the frozen networks of the losses, which training needs and reenacting does not.

        Raises:
            UserError: one cannot be had.
        """

    @override
    def setup(self, stage: str) -> None:
        """Check that the data are such as the model was built for, and get what it learns from.

        Raises:
            UserError: their images have another size or their label maps other classes, or a network of a loss cannot
                be had.
        """
        data = getattr(self.trainer, "datamodule", None)
        self.check_data(data)
        if stage == "fit":
            before = self.trained_on_drawn if self.fine_tuned else None  # one person's pictures change nothing there
            self.trained_on_drawn = getattr(data, "drawn_faces", before)
            self.call_experts()

    # ------------------------------------------------------------------------------------------- reenacting

    @torch.no_grad()
    def reenact(
        self, shots: Tensor, drawings_of_shots: Tensor, drawing: Tensor, *, labels: Tensor | None = None
    ) -> Reenacted:
        """Return one person in other poses, see ``networks.reenacted.Reenacts``.

        Raises:
            UserError: images have another shape, or label maps are needed and missing.
        """
        return self.meet(shots, drawings_of_shots).reenacted(drawing, labels)

    @torch.no_grad()
    def meet(self, shots: Tensor, drawings: Tensor, source: str = "") -> Person:
        """Return a person known from photographs, whose codes are computed once for whatever is made of them.

        Args:
            shots: (K, 3, S, S) in [0, 1], or of bytes.
            drawings: (K, 3, S, S) in [0, 1], or of bytes, of their landmarks.
            source: the name of the person.

        Raises:
            UserError: images have another shape, or there are none, or not as many drawings.
        """
        shots, drawings = checked_shots(shots, drawings, self.image_size)
        with evaluating(self.shown):
            codes = self.codes(self.shown, shots[None], drawings[None])
        return Person(self, self.shown, codes, source=source, shots=len(shots), fine_tuned=self.fine_tuned)

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Return a person reenacted from each number of shots, ``dict[str, Reenacted]``, for the callbacks."""
        if batch.get("task") != "subject":
            return None
        found: dict[str, Reenacted] = {}
        for count in self.evaluation.shots:
            shots, drawings = subject_shots(batch, count)
            found |= self.results(shots, drawings, batch["drawing"][0], labels=first(batch, "labels"))
        return found

    test_step = validation_step

    def results(
        self, shots: Tensor, drawings: Tensor, drawing: Tensor, *, labels: Tensor | None
    ) -> dict[str, Reenacted]:
        """Return what is made of K shots, by the name of the method."""
        people = [self.meet(shots, drawings)]
        if self.evaluation.finetune:
            people.append(self.meet_tuned(shots, drawings))
        return {method_name(each.shots, each.fine_tuned): each.reenacted(drawing, labels) for each in people}

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Reenacted:
        """Return a part of a driving sequence with the person of the photographs; each is met once."""
        if self._person is None or self._person.source != batch["source"]:
            self._person = self.meet_source(batch)
        return self._person.reenacted(batch["drawing"])

    @override
    def default_inputs(self) -> dict[str, Any]:
        return {"image_size": self.image_size}

    @override
    def answers(self, batch: dict[str, Any]) -> list[MadeVideo]:
        """Return a part of a driving sequence with the person of the photographs."""
        images = self.predict_step(batch, 0).images
        return [
            MadeVideo(
                (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1),
                batch["time"],
                batch["found"],
                rate=batch["rate"],
                steady=batch["steady"],
                sound=batch["audio"],
                notes=[*batch["notes"], *batch["warnings"], *self.cautions],
            )
        ]

    def meet_source(self, batch: Mapping[str, Any]) -> Person:
        """Return the person of a batch of prediction, fine-tuned on if it asks so."""
        meet = self.meet_tuned if batch.get("finetune") else self.meet
        return meet(batch["shots"], batch["shot_drawings"], batch["source"])

    def meet_tuned(self, shots: Tensor, drawings: Tensor, source: str = "") -> Person:
        """Return a person that the networks were fine-tuned on.

        Raises:
            UserError: this stage is none that is fine-tuned.
        """
        raise UserError(
            f"{type(self).__name__} is not fine-tuned on photographs of one person: take LSR, or "
            "--data.finetune=false and --model.evaluation.finetune=false"
        )

    @override
    def on_predict_end(self) -> None:
        self._person = None

    def to_network(self, images: Tensor) -> Tensor:
        """Return images of [0, 1] in [-1, 1], in the order of memory that the network is quickest with."""
        return signed(images).to(memory_format=self.memory_format)

    def exportable(self) -> list[Exportable]:
        """Return encoder and generator to export."""
        return heads(self.shown, self.image_size, self.trained_on_drawn)

    # ------------------------------------------------------------------------------------------- checkpoints

    @override
    def built_for(self) -> dict[str, Any]:
        return {"image_size": self.image_size}

    @override
    def check_origin(self, told: Mapping[str, Any]) -> None:
        """See that weights were trained on images of the same size.

        Raises:
            UserError: they were not.
        """
        size = told.get("image_size")
        if size is not None and int(size) != self.image_size:
            raise UserError(
                f"the network was trained on images of {size} pixels, and the model is built for {self.image_size}: "
                f"give --model.image_size={size} --data.image_size={size}"
            )
