"""The perceptual loss of VGG19: how far two images are from each other in the layers of a trained classifier."""

import re
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.weights import read_state_dict
from visionscapes.errors import UserError

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
LAYER_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
# Of the images that torchvision's weights were trained on.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FeatureDistance(nn.Module):
    """The weighted sum of mean absolute differences between two images' features after the named ReLUs.

    The network is frozen and stays in evaluation mode. Its weights would fill checkpoints with what is on disk anyway;
    whoever owns this module keeps them out.

    Args:
        features: a stack of convolutions, ReLUs and poolings as VGG has it, for RGB images normalised as ImageNet's.
        layers: "relu<b>_<n>": the n-th ReLU after the (b - 1)-th pooling, both counted from 1.
        layer_weights: one for each layer.

    Raises:
        UserError: a layer is not in the stack, or the numbers of layers and weights differ.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, features: nn.Sequential, layers: Sequence[str] = LAYERS, layer_weights: Sequence[float] = LAYER_WEIGHTS
    ):
        super().__init__()
        if not layers or len(layers) != len(layer_weights):
            raise UserError(
                f"{len(layers)} layers of the perceptual loss and {len(layer_weights)} weights: give one for each"
            )
        names = relu_names(features)
        unknown = [layer for layer in layers if layer not in names.values()]
        if unknown:
            raise UserError(f"the perceptual loss has no {', '.join(unknown)}; it has {', '.join(names.values())}")
        self.weight_of = dict(zip(layers, layer_weights, strict=True))
        self.name_of = {place: name for place, name in names.items() if name in self.weight_of}
        self.features = nn.Sequential(*list(features)[: max(self.name_of) + 1])
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    @override
    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    @override
    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """Compare images.

        Args:
            images: (B, 3, H, W), RGB in [-1, 1]; the gradient goes here.
            target: the same of the images aimed at; no gradient goes here.

        Returns:
            A float32 scalar.
        """
        with torch.no_grad():
            wanted = self._maps(target)
        got = self._maps(images)
        terms = [
            weight * F.l1_loss(got[layer].float(), wanted[layer].float()) for layer, weight in self.weight_of.items()
        ]
        return torch.stack(terms).sum()

    def _maps(self, images: Tensor) -> dict[str, Tensor]:
        images = ((images + 1) / 2 - self.mean) / self.std
        maps = {}
        for place, layer in enumerate(self.features):
            images = layer(images)
            if place in self.name_of:
                maps[self.name_of[place]] = images
        return maps


class VGGPerceptual(FeatureDistance):
    """The perceptual loss of VGG19 (Johnson et al., ECCV 2016) as pix2pixHD and SPADE have it, and thesis table 5.5.

    Their official codes feed images of [-1, 1] as they are; here they are normalised as in VGG's training, which the
    weights ask for. Differences of pixels then are 2.2 times as large: a loss weight found with their codes is too.

    Args:
        weights: "torchvision" (downloaded, ImageNet), the path of a state dict of torchvision's vgg19, whole or of its
            features, or None for random ones, which measure little.
        layers: see `FeatureDistance`.
        layer_weights: one for each layer; the default is that of both official codes.

    Raises:
        UserError: the weights cannot be fetched, or are others than VGG19's; see also `FeatureDistance`.
    """

    def __init__(
        self,
        weights: str | None = "torchvision",
        layers: Sequence[str] = LAYERS,
        layer_weights: Sequence[float] = LAYER_WEIGHTS,
    ):
        super().__init__(vgg19_features(weights), layers, layer_weights)


def relu_names(features: nn.Sequential) -> dict[int, str]:
    """Return the place of every ReLU in a stack and its name "relu<block>_<number>"."""
    names, block, number = {}, 1, 0
    for place, layer in enumerate(features):
        if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            block, number = block + 1, 0
        elif isinstance(layer, nn.ReLU):
            number += 1
            names[place] = f"relu{block}_{number}"
    return names


def vgg19_features(weights: str | None) -> nn.Sequential:
    """Return the convolutional part of torchvision's VGG19; see `VGGPerceptual`.

    Raises:
        UserError: the weights cannot be fetched or read, or are those of another network.
    """
    from torchvision.models import vgg19

    with torch.device("meta"):  # 120 of the 140 million weights are in the classifier, which is not wanted
        features = vgg19(init_weights=False).features
    features.to_empty(device="cpu")
    if weights is None:
        for layer in features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        return features
    state = _fetch() if weights == "torchvision" else read_state_dict(weights)
    state = {re.sub(r"^features\.", "", key): value for key, value in state.items() if "classifier." not in key}
    own = features.state_dict()
    wrong = sorted(own.keys() ^ state.keys()) or [key for key in own if own[key].shape != state[key].shape]
    if wrong:
        raise UserError(
            f"'{weights}' does not hold the weights of torchvision's vgg19: {len(wrong)} names or shapes do not match, "
            f"such as '{wrong[0]}'; give the file of torchvision.models.VGG19_Weights.IMAGENET1K_V1.url"
        )
    features.load_state_dict(state)
    return features


def _fetch() -> dict[str, Tensor]:
    from torchvision.models import VGG19_Weights

    weights = VGG19_Weights.IMAGENET1K_V1
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:  # no network; a download cut short
        raise UserError(
            f"cannot fetch the weights of VGG19 ({type(error).__name__}: {error}). Without a network: fetch "
            f"{weights.url} elsewhere and give the file's path in place of 'torchvision'."
        ) from error
