"""What draws the objects of a layout anew into a picture: the interface of grounded inpainters (thesis 7.2.2)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Literal

from torch import Tensor, nn

from visionscapes.errors import UserError
from visionscapes.options import plain

Verdict = Literal["right", "wrong class", "missing"]


@dataclass(frozen=True)
class PictureLayout:
    """A picture and the objects that are to be drawn anew in it; N objects.

    Attributes:
        image: (3, H, W) uint8 RGB.
        boxes: (N, 4) float32 xyxy in pixels.
        names: N names of their classes, which are the prompts of the boxes.
    """

    image: Tensor
    boxes: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True)
class Truth:
    """What became of a layout, where the inpainter knows it: no inpainter of photographs does.

    Attributes:
        verdicts: N, of the objects that were asked for.
        low_quality: whether the whole picture was spoilt.
        extra_boxes: (E, 4) float32 xyxy pixels, of objects that nobody asked for.
        extra_names: E names of their classes.
    """

    verdicts: tuple[Verdict, ...]
    low_quality: bool
    extra_boxes: Tensor
    extra_names: tuple[str, ...]


@dataclass(frozen=True)
class Inpainted:
    """What an inpainter made of a layout.

    Attributes:
        image: (3, H, W) uint8 RGB, of the layout's size.
        repainted: (N,) bool, which objects were drawn anew; the others are as they were.
        prompt: for the whole picture, empty where the inpainter takes none.
        truth: what is known of the result.
    """

    image: Tensor
    repainted: Tensor
    prompt: str = ""
    truth: Truth | None = field(default=None)


class GroundedInpainter(nn.Module, ABC):
    """Base of what draws objects of given classes into given boxes of a picture.

    A subclass keeps its options in attributes of their names.

    Attributes:
        title: what it is called beside what it made.
    """

    title: str

    @property
    def options(self) -> dict[str, Any]:
        """The options that it was made with, as plain values: together with a seed they tell how a picture was made."""
        return options_of(self)

    @abstractmethod
    def inpaint(self, layout: PictureLayout, seed: int) -> Inpainted:
        """Draw all objects of a layout anew; the same bytes for the same layout and seed, whatever was drawn before."""

    @abstractmethod
    def ignores_boxes(self, layout: PictureLayout, seed: int) -> bool:
        """Return whether the boxes of a layout change nothing, as in a pipeline whose parts for boxes were lost."""

    def guided_by(self, guide: Any) -> None:
        """Draw pictures towards what a guide finds hard from now on, see ``networks.guidance.Guide``.

        Raises:
            UserError: it cannot; of those here ``networks.DiffusionInpainter`` can.
        """
        raise UserError(
            f"{type(self).__name__} cannot be guided, for nothing tells it which way is harder: take "
            "networks.DiffusionInpainter, or no guide"
        )


def options_of(thing: Any) -> dict[str, Any]:
    """Return the options that something was made with, as plain values: its attributes of their names."""
    parameters = signature(type(thing)).parameters.values()
    named = [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    return plain({name: getattr(thing, name) for name in named})


def picture_prompt(names: Sequence[str]) -> str:
    """Return the prompt of a whole picture, "a dog, a dog and a cat": every instance is named (thesis 7.2.2)."""
    words = [f"a {name}" for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
