"""People known from photographs, and the pictures of them that are given."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from networks.reenacted import Reenacted, shot_numbers
from visionscapes.errors import UserError


class MakesHeads(Protocol):
    """A module that makes heads in the poses of drawings.

    Attributes:
        image_size: S in pixels.
        evaluation: how many of them at a time.
    """

    image_size: int
    evaluation: Any

    def made(self, network: Any, drawing: Tensor, codes: Any, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return images (T, 3, S, S) in about [-1, 1] and layouts (T, C, S, S) that a network makes of drawings."""
        ...


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

    module: MakesHeads
    network: nn.Module
    codes: Any
    source: str
    shots: int
    fine_tuned: bool

    @torch.no_grad()
    def reenacted(self, drawing: Tensor, labels: Tensor | None = None) -> Reenacted:
        """Return the person in the poses of drawings (T, 3, S, S) in [0, 1], or of bytes, made in parts.

        Raises:
            UserError: drawings have another shape or are no numbers, or label maps (T, S, S) are needed and missing.
        """
        drawing = checked(drawing, self.module.image_size)
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


def checked(images: Tensor, size: int) -> Tensor:
    """Return images (N, 3, S, S), which may be of bytes, in [0, 1].

    Args:
        images: as they are given.
        size: S in pixels, that the model is built for.

    Raises:
        UserError: they are of another size, have another shape, or hold what is no number.
    """
    if images.shape[-2:] == (size, size) and images.shape[1:-2] != (3,):
        raise UserError(
            f"images of shape {tuple(images.shape)}: (N, 3, {size}, {size}) are needed, in RGB; unsqueeze(0) makes some"
            " of one"
        )
    if images.shape[-2:] != (size, size):
        raise UserError(
            f"images of {images.shape[-1]} x {images.shape[-2]} pixels, and the model is built for squares of {size}: "
            "crop them so"
        )
    if images.is_floating_point():
        spoilt = (~images.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        if spoilt:
            raise UserError(
                f"there are values that are no numbers (NaN or infinite) in {len(spoilt)} of {len(images)} images, the "
                f"first of them number {spoilt[0] + 1}: give floats in [0, 1], or bytes"
            )
    return unit(images)


def checked_shots(shots: Tensor, drawings: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return shots and their drawings (K, 3, S, S) in [0, 1], see `checked`.

    Raises:
        UserError: images have another shape or are no numbers, or there are none, or not as many drawings.
    """
    both = checked(shots, size), checked(drawings, size)
    if len(shots) != len(drawings) or not len(shots):
        raise UserError(
            f"{len(shots)} shots and {len(drawings)} drawings of landmarks: give one shot at least, and the drawing of"
            " each"
        )
    return both


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
