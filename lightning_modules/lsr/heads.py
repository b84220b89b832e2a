"""Modules that give a person another pose: what all stages of LSR share."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from networks.companion import Companion
from networks.reenacted import Reenacted, method_name, shot_numbers
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


@dataclass
class Person:
    """A person known from photographs.

    Attributes:
        module: that made the codes.
        network: that reenacts; the module's own, or one that was fine-tuned.
        codes: of the person.
        source: the name of the person.
        shots: K, how many photographs there are.
        fine_tuned: whether the network was trained on them.
    """

    module: "HeadModule"
    network: nn.Module
    codes: Any
    source: str
    shots: int
    fine_tuned: bool

    @torch.no_grad()
    def reenacted(self, drawing: Tensor, labels: Tensor | None = None) -> Reenacted:
        """Return the person in the poses of drawings (T, 3, S, S) in [0, 1], or of bytes, made in parts.

        Raises:
            UserError: drawings have another shape, or label maps (T, S, S) are needed and missing.
        """
        drawing = self.module.checked(drawing)
        parts, size = [], self.module.evaluation.batch
        with evaluating(self.network):
            for at in range(0, len(drawing), size):
                known = None if labels is None else labels[at : at + size]
                parts.append(self.module.made(self.network, drawing[at : at + size], self.codes, known))
        images = torch.cat([image.float() for image, _ in parts]) if parts else torch.zeros_like(drawing)
        layouts = [layout for _, layout in parts if layout is not None]
        pictures = ((images + 1) / 2).clamp(0, 1)
        return Reenacted(
            pictures, torch.cat(layouts).float() if layouts else None, shots=self.shots, fine_tuned=self.fine_tuned
        )


class HeadModule(AdversarialModule):
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
        trained_on_drawn: whether the training faces were drawn ones; None if nothing is known.
        fine_tuned: whether the network was trained for one person.
    """

    takes = "datamodules.clips.heads.given.GivenHeads"
    gives = "MadeVideo: the person of the source in the poses of the driver"
    fixed_inputs = ("image_size",)
    trained_on_drawn: bool | None = None
    fine_tuned = False
    _person: "Person | None" = None  # the last that was met in prediction

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
        shots, drawings = self.checked_shots(shots, drawings)
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
            found |= self.results(shots, drawings, unit(batch["drawing"][0]), labels=first(batch, "labels"))
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
        return self._person.reenacted(unit(batch["drawing"]))

    @override
    def default_inputs(self) -> dict[str, Any]:
        return {"image_size": self.image_size}

    @override
    def answers(self, batch: dict[str, Any]) -> list[MadeVideo]:
        """Return a part of a driving sequence with the person of the photographs."""
        images = self.predict_step(batch, 0).images
        drawn = ["the network knows drawn faces only: real ones will not look right"] * bool(self.trained_on_drawn)
        return [
            MadeVideo(
                (images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1),
                batch["time"],
                batch["found"],
                rate=batch["rate"],
                steady=batch["steady"],
                sound=batch["audio"],
                notes=[*batch["notes"], *batch["warnings"], *drawn],
            )
        ]

    def meet_source(self, batch: Mapping[str, Any]) -> Person:
        """Return the person of a batch of prediction, fine-tuned on if it asks so."""
        meet = self.meet_tuned if batch.get("finetune") else self.meet
        return meet(unit(batch["shots"]), unit(batch["shot_drawings"]), batch["source"])

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

    def checked_shots(self, shots: Tensor, drawings: Tensor) -> tuple[Tensor, Tensor]:
        """Return shots and their drawings (K, 3, S, S) in [0, 1], see `checked`.

        Raises:
            UserError: images have another shape, or there are none, or not as many drawings.
        """
        checked = self.checked(shots), self.checked(drawings)
        if len(shots) != len(drawings) or not len(shots):
            raise UserError(
                f"{len(shots)} shots and {len(drawings)} drawings of landmarks: give one shot at least, and the drawing"
                " of each"
            )
        return checked

    def checked(self, images: Tensor) -> Tensor:
        """Return images (N, 3, S, S), which may be of bytes, in [0, 1].

        Raises:
            UserError: they are not of the size that the model is built for, or have another shape.
        """
        if images.shape[-2:] == (self.image_size, self.image_size) and images.shape[1:-2] != (3,):
            raise UserError(
                f"images of shape {tuple(images.shape)}: (N, 3, {self.image_size}, {self.image_size}) are needed, in"
                " RGB; unsqueeze(0) makes some of one"
            )
        if images.shape[-2:] != (self.image_size, self.image_size):
            raise UserError(
                f"images of {images.shape[-1]} x {images.shape[-2]} pixels, and the model is built for squares of "
                f"{self.image_size}: crop them so"
            )
        return unit(images)

    def exportable(self) -> list[Exportable]:
        """Return encoder and generator to export."""
        return heads(self.shown, self.image_size, self.trained_on_drawn)

    # ------------------------------------------------------------------------------------------- checkpoints

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["trained_on_drawn"] = self.trained_on_drawn
        checkpoint["image_size"] = self.image_size

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read what is not in the weights.

        Raises:
            UserError: the checkpoint's networks were trained on images of another size.
        """
        super().on_load_checkpoint(checkpoint)
        self.know_origin({name: checkpoint[name] for name in ("trained_on_drawn", "image_size") if name in checkpoint})

    def backbone_options(self) -> dict[str, str]:
        """Return what a file of the weights alone has to say of its training, for `know_origin`."""
        return {"trained_on_drawn": str(self.trained_on_drawn), "image_size": str(self.image_size)}

    def know_origin(self, told: Mapping[str, Any]) -> None:
        """Take what a file of weights says of their training, nothing if it says nothing.

        Args:
            told: by the names of `backbone_options`.

        Raises:
            UserError: the weights were trained on images of another size.
        """
        size = told.get("image_size")
        if size is not None and int(size) != self.image_size:
            raise UserError(
                f"the network was trained on images of {size} pixels, and the model is built for {self.image_size}: "
                f"give --model.image_size={size} --data.image_size={size}"
            )
        self.trained_on_drawn = {"True": True, "False": False}.get(str(told.get("trained_on_drawn")))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Have a network in evaluation mode meanwhile."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def unit(images: Tensor) -> Tensor:
    """Return pictures of bytes, or of [0, 1], in [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def first(batch: Mapping[str, Any], name: str) -> Tensor | None:
    """Return what a batch of one subject has by a name, None if it has not."""
    return batch[name][0] if name in batch else None


def subject_shots(batch: Mapping[str, Any], count: int) -> tuple[Tensor, Tensor]:
    """Return K of a subject's source frames and their drawings, (K, 3, S, S) in [0, 1] each.

    Raises:
        UserError: there are not as many.
    """
    shots, drawings = batch["shots"][0], batch["shot_drawings"][0]
    if count > len(shots):
        raise UserError(
            f"{count} shots are asked for, and {batch['name'][0]} has {len(shots)}: give less, "
            "--model.evaluation.shots, or data with more source frames, --data.sources"
        )
    chosen = shot_numbers(len(shots), count)
    return unit(shots[chosen]), unit(drawings[chosen])
