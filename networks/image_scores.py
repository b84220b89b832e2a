"""Scores of whole pictures, by which bad ones are told from good ones (thesis 7.2.3)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as transforms
from typing_extensions import override

from networks.weights import read_state_dict
from visionscapes.checks import PositiveFloat, check_options
from visionscapes.errors import UserError

PUBLISHED = "openai/clip-vit-large-patch14"
PREDICTOR = "sac+logos+ava1-l14-linearMSE.pth"
EMBEDDING = 768  # of that CLIP
LAYERS = (1024, 128, 64, 16, 1)
DROPOUT = (0.2, 0.2, 0.1)
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP
INSTALL = "the aesthetic predictor needs transformers: pip install 'visionscapes[gligen]'"


class ImageScore(nn.Module, ABC):
    """Base of what gives a picture a number, the higher the better.

    Attributes:
        title: what the number is called.
    """

    title: str

    @abstractmethod
    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Return (B,) float32 scores of B pictures, (3, H, W) uint8 RGB of any size, whatever pictures are beside."""


class Contrast(ImageScore):
    """Standard deviation of the blurred grey picture: pale and blurred pictures have little, noise does not help.

    It stands in for an aesthetic predictor where there are no photographs; it knows nothing of beauty.

    Args:
        blur: standard deviation of the blur as a share of the longer side.

    Raises:
        UserError: ``blur`` is not positive.
    """

    title = "contrast"

    def __init__(self, blur: PositiveFloat = 0.012):
        check_options(Contrast, locals())
        super().__init__()
        self.blur = blur

    @override
    def forward(self, images: Sequence[Tensor]) -> Tensor:
        return torch.stack([self._of(image) for image in images])

    def _of(self, image: Tensor) -> Tensor:
        grey = transforms.rgb_to_grayscale(image.float() / 255)
        sigma = self.blur * max(image.shape[1:])
        size = min(2 * round(3 * sigma) + 1, 2 * min(image.shape[1:]) - 1)  # what reflection has room for
        return transforms.gaussian_blur(grey, [size, size], [sigma, sigma]).std(correction=0)


class AestheticPredictor(ImageScore):
    """How pleasing people would find a picture, from 1 to 10: LAION's predictor on the embedding of CLIP ViT-L/14.

    Args:
        clip: folder of the CLIP model as ``save_pretrained`` leaves it, or a name on Hugging Face's hub.
        weights: file of the predictor, sac+logos+ava1-l14-linearMSE.pth of LAION's improved aesthetic predictor.

    Raises:
        UserError: transformers is not installed, there is no such model or file, or it is of another kind.
    """

    title = "aesthetic score"

    def __init__(self, clip: str = PUBLISHED, weights: str = PREDICTOR):
        super().__init__()
        self.clip: Any = read_clip(clip)
        sizes = (EMBEDDING, *LAYERS)
        parts: list[nn.Module] = []
        for place, (inner, outer) in enumerate(zip(sizes, LAYERS, strict=False)):
            parts.append(nn.Linear(inner, outer))
            parts += [nn.Dropout(DROPOUT[place])] if place < len(DROPOUT) else []
        self.layers = nn.Sequential(*parts)  # named as in LAION's file
        _load(self.layers, weights)
        self.requires_grad_(False).eval()

    @property
    def side(self) -> int:
        """Pixels of a side of what CLIP sees."""
        return int(self.clip.config.image_size)

    @override
    def forward(self, images: Sequence[Tensor]) -> Tensor:
        pixels = torch.stack([as_seen(image, self.side) for image in images])
        # The weights may be in half precision; the score is not.
        embedding = self.clip(pixels.to(self.clip.dtype)).image_embeds.float()
        return self.layers(F.normalize(embedding, dim=1))[:, 0]


def as_seen(image: Tensor, side: int) -> Tensor:
    """Return a picture (3, H, W) uint8 as CLIP takes it, (3, side, side) float32: its middle, normalised."""
    size = [side * length // min(image.shape[1:]) for length in image.shape[1:]]
    interpolation = transforms.InterpolationMode.BICUBIC
    small = transforms.resize(image, size, interpolation=interpolation, antialias=True)
    return transforms.normalize(transforms.center_crop(small, [side, side]).float() / 255, list(MEAN), list(DEVIATION))


def read_clip(model: str) -> nn.Module:
    """Return the vision tower of a CLIP of transformers, with its projection.

    Raises:
        UserError: transformers is not installed; there is no such model, or its embedding is of another size.
    """
    try:
        from transformers import CLIPVisionModelWithProjection
    except ImportError as error:
        raise UserError(INSTALL) from error
    folder = Path(model).expanduser()
    try:
        tower = CLIPVisionModelWithProjection.from_pretrained(str(folder) if folder.is_dir() else model)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"cannot read CLIP from '{model}' ({str(error).splitlines()[0]}): fetch {PUBLISHED} where there is a "
            "network and give its folder"
        ) from error
    if tower.config.projection_dim != EMBEDDING:
        raise UserError(
            f"'{model}' gives embeddings of {tower.config.projection_dim} numbers, and the predictor takes those of "
            f"{PUBLISHED}, {EMBEDDING}: give its folder"
        )
    return tower


def _load(layers: nn.Sequential, path: str) -> None:
    """Read the predictor's weights.

    Raises:
        UserError: they are not there, or of something else.
    """
    if not Path(path).expanduser().is_file():
        raise UserError(
            f"no weights of the aesthetic predictor at '{path}': fetch {PREDICTOR} of LAION's improved aesthetic "
            "predictor (github.com/christophschuhmann/improved-aesthetic-predictor) and give its path"
        )
    state: Mapping[str, Tensor] = read_state_dict(path)
    named = {name.removeprefix("layers."): tensor for name, tensor in state.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in layers.state_dict().items()}
    if {name: tuple(tensor.shape) for name, tensor in named.items()} != wanted:
        raise UserError(f"'{path}' holds no weights of LAION's aesthetic predictor ({PREDICTOR}): give that file")
    layers.load_state_dict(named)
