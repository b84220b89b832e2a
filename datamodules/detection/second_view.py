"""The augmented view of a picture that SparseDet compares with the picture itself (thesis 3.2.2, Figure 3.3).

Colours change and a part of one box is erased; the geometry stays, so that one set of boxes holds for both views.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from visionscapes.checks import Among, NonNegativeFloat, PositiveFloat, Share, check_options, check_rising

LUMA = (0.299, 0.587, 0.114)
# Principal components of ImageNet's RGB values (Krizhevsky et al. 2012), columns, and their standard deviations.
COMPONENTS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
DEVIATIONS = (0.2175, 0.0188, 0.0045)
TRIES = 10  # to fit an erased rectangle into its box (official code)
TEST_AREA = (0.01, 0.05)  # of the middle of the picture, erased where there are no boxes to go by (official code)


class SecondView:
    """A(I) of thesis 3.2.2: random contrast, brightness, saturation, lighting and box erase, one after the other.

    Ranges are of section 3.5.2.5. Every augmentation is left out with null (table 3.10). Detections at inference need
    a second view too, where no box is known: as in the official code the rectangle is then erased from the middle half
    of the picture and covers 1 to 5 % of it; the thesis does not say.

    Args:
        contrast: range of the factor on the distance from the picture's mean; [0.5, 1.5] in the thesis.
        brightness: range of the factor on the picture.
        saturation: range of the factor on the distance from the grey picture.
        lighting: standard deviation along ImageNet's colour components, which are scaled for [0, 1] but added to grey
            levels in [0, 255], as Detectron2 and so the official code do: it moves a picture by less than a grey
            level (table 3.10 finds next to no effect). AlexNet's own strength would be 255 times as much.
        erase_area: range of the share of one box that is erased, filled with black.
        erase_aspect: range of height over width of the erased rectangle, drawn uniformly (official code).
        at_test: the second view of evaluation: "augmented", the same for a picture every time, or "clean", the picture
            itself (table 3.6).

    Raises:
        UserError: a range that is no pair of ascending positive numbers, or a share above 1.
    """

    def __init__(
        self,
        contrast: list[Annotated[NonNegativeFloat, Among(2, 2)]] | None = [0.5, 1.5],  # noqa: B006 (read only, and the help shows it)
        brightness: list[Annotated[NonNegativeFloat, Among(2, 2)]] | None = [0.5, 1.5],  # noqa: B006
        saturation: list[Annotated[NonNegativeFloat, Among(2, 2)]] | None = [0.5, 1.5],  # noqa: B006
        lighting: NonNegativeFloat | None = 1.2,
        erase_area: list[Annotated[Share, Among(2, 2)]] | None = [0.4, 0.7],  # noqa: B006
        erase_aspect: list[Annotated[PositiveFloat, Among(2, 2)]] = [0.3, 3.3],  # noqa: B006
        at_test: Literal["augmented", "clean"] = "augmented",
    ):
        check_options(SecondView, locals())
        check_rising(SecondView, contrast=contrast, brightness=brightness, saturation=saturation)
        check_rising(SecondView, erase_area=erase_area, erase_aspect=erase_aspect)
        self.contrast, self.brightness, self.saturation = contrast, brightness, saturation
        self.lighting, self.erase_area, self.erase_aspect, self.at_test = lighting, erase_area, erase_aspect, at_test

    def __call__(self, image: Tensor, boxes: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the view to train with.

        Args:
            image: (3, H, W) uint8 RGB.
            boxes: (N, 4) xyxy pixels, one of which is partly erased; none is if N is 0.
            generator: of the random numbers; torch's default if None.
        """
        view = self.recoloured(image.float(), generator)
        if self.erase_area is not None and len(boxes):
            box = boxes[torch.randint(len(boxes), (), generator=generator)]
            erase(view, box, self.erase_area, self.erase_aspect, generator)
        return view.round().to(torch.uint8)

    def for_test(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """Return the view to detect with: (3, H, W) uint8 RGB, which needs no boxes."""
        if self.at_test == "clean":
            return image
        view = self.recoloured(image.float(), generator)
        if self.erase_area is not None:
            height, width = image.shape[1:]
            middle = torch.tensor([width / 4, height / 4, 3 * width / 4, 3 * height / 4])
            erase(view, middle, TEST_AREA, self.erase_aspect, generator)
        return view.round().to(torch.uint8)

    def recoloured(self, image: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return a picture (3, H, W) float32 in [0, 255] with the four changes of colour, clipped after each."""
        if self.contrast is not None:
            image = blend(image.mean(), image, uniform(self.contrast, generator))
        if self.brightness is not None:
            image = blend(torch.zeros(()), image, uniform(self.brightness, generator))
        if self.saturation is not None:
            grey = torch.einsum("c,chw->hw", torch.tensor(LUMA), image)
            image = blend(grey, image, uniform(self.saturation, generator))
        if self.lighting is not None:
            weights = torch.randn(3, generator=generator) * self.lighting * torch.tensor(DEVIATIONS)
            image = (image + (torch.tensor(COMPONENTS) @ weights)[:, None, None]).clamp(0, 255)
        return image


def blend(start: Tensor, image: Tensor, factor: float) -> Tensor:
    """Return start + factor * (image - start), clipped to [0, 255]."""
    return torch.lerp(start.expand_as(image), image, factor).clamp(0, 255)


def uniform(bounds: Sequence[float], generator: torch.Generator | None = None) -> float:
    """Draw a number between two bounds."""
    return bounds[0] + (bounds[1] - bounds[0]) * float(torch.rand((), generator=generator))


def erase(
    image: Tensor, box: Tensor, area: Sequence[float], aspect: Sequence[float], generator: torch.Generator | None = None
) -> bool:
    """Blacken, in place, a random rectangle within a box (Random Erasing, Zhong et al. 2020, of one box).

    Ten rectangles are tried; if none fits into the box the picture stays as it is. The official code means the same,
    but then blackens a rectangle of the box's size in the corner of the picture.

    Args:
        image: (3, H, W).
        box: (4,) xyxy pixels.
        area: range of the rectangle's share of the box.
        aspect: range of its height over its width.
        generator: of the random numbers; torch's default if None.

    Returns:
        Whether anything was erased.
    """
    left, top, right, bottom = (int(edge) for edge in box.round())
    for _ in range(TRIES):
        wanted = uniform(area, generator) * (right - left) * (bottom - top)
        ratio = uniform(aspect, generator)
        height, width = round((wanted * ratio) ** 0.5), round((wanted / ratio) ** 0.5)
        if 0 < height <= bottom - top and 0 < width <= right - left:
            y = top + int(torch.randint(bottom - top - height + 1, (), generator=generator))
            x = left + int(torch.randint(right - left - width + 1, (), generator=generator))
            image[:, max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = 0
            return True
    return False
