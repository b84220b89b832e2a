"""Who a face is, as a direction: embeddings whose cosine is high for pictures of one person."""

from abc import ABC, abstractmethod
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.companion import Companion
from networks.weights import load_state, read_state_dict
from visionscapes.checks import check_options

SIDE = 64  # pixels that the small network looks at
DIM = 128
_WEIGHTS = Path(__file__).parents[1] / "weights" / "identity.safetensors"


class IdentityEmbedder(nn.Module, ABC):
    """Base of the networks that tell people apart, which ID-SIM of a reenacted person asks (thesis 6.1.2).

    The thesis takes VGGFace, whose features the generator is trained with too, so that a generator may please it and
    nobody else. An embedder that trained nothing is the stricter judge.

    Attributes:
        title: what it is called beside figures.
    """

    title: str

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Return embeddings (N, D) of heads (N, 3, S, S) float32 RGB in [0, 1], for any S."""

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings (N, D) float32 of unit length of heads (N, 3, S, S) float32 RGB in [0, 1], for any S."""
        return F.normalize(self.embed(images).float(), dim=1)


class SmallIdentity(IdentityEmbedder):
    """A small network that knows drawn people, a stand-in for one that knows people.

    Its weights are those that ``configs/identity.yaml`` leaves (weights/README.md has the figures): of drawn people who
    were never shown to it, in other poses and before other backgrounds. It says nothing about photographs.

    Args:
        weights: a file that such a run has left; "this repository's" for its own one; None for random weights.

    Raises:
        UserError: the file is missing or holds another network.
    """

    title = "small network for drawn people"

    def __init__(self, weights: str | None = "this repository's"):
        check_options(SmallIdentity, locals())
        super().__init__()
        widths = ((3, 24, 2), (24, 48, 2), (48, 48, 1), (48, 96, 2), (96, 96, 1), (96, 128, 2))
        self.layers = nn.Sequential(
            *(_layer(inputs, outputs, stride) for inputs, outputs, stride in widths),
            nn.Conv2d(128, 64, 1),
            nn.Flatten(),
            nn.Linear(64 * (SIDE // 16) ** 2, DIM),
        )
        if weights is not None:
            path = _WEIGHTS if weights == "this repository's" else Path(weights)
            load_state(self, read_state_dict(path), f"'{path}'", "Give the file that a run of FaceIdentity has left.")
            self.requires_grad_(False).eval()

    @override
    def embed(self, images: Tensor) -> Tensor:
        if images.shape[-2:] != (SIDE, SIDE):
            images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        return self.layers(2 * images - 1)


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def has_weights_of(module: nn.Module, embedder: nn.Module) -> bool:
    """Return whether a module holds the largest tensor of an embedder's weights, as one that was trained with it does.

    Args:
        module: such as a generator with the networks of its losses, as parts or as companions.
        embedder: that is to judge it.
    """
    largest = max(embedder.parameters(), key=torch.numel, default=None)
    if largest is None:
        return False
    mine = largest.detach().cpu()
    companions = [each for each in module.modules() if isinstance(each, Companion)]
    return any(
        each.shape == mine.shape and torch.equal(each.detach().cpu().to(mine.dtype), mine)
        for each in chain(module.parameters(), *(companion.network.parameters() for companion in companions))
    )
