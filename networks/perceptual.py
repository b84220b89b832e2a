"""The perceptual loss of VGG19: how far two images are from each other in the layers of a trained classifier."""

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Literal, Self, get_args

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
# Of the images that the authors' own weights, of caffe and Keras, were trained on, as caffe has colours: blue first.
CAFFE_MEAN = (103.939 / 255, 116.779 / 255, 123.68 / 255)
# How much larger a difference of pixels is as caffe's networks read it, in 0 to 255, than as torchvision's: 57.6.
CAFFE_FACTOR = 255 * sum(STD) / 3

InputScale = Literal["torchvision", "caffe", "calibrated"]


class FeatureDistance(nn.Module):
    """The weighted sum of mean absolute differences between two images' features after the named ReLUs.

    The network is frozen and stays in evaluation mode. Its weights would fill checkpoints with what is on disk anyway;
    whoever owns this module keeps them out.

    Args:
        features: a stack of convolutions, ReLUs and poolings as VGG has it.
        layers: "relu<b>_<n>": the n-th ReLU after the (b - 1)-th pooling, both counted from 1.
        layer_weights: one for each layer.
        input_scale: what the stack reads. "torchvision": RGB normalised by ImageNet's mean and deviation. "caffe": BGR
            from 0 to 255 less ImageNet's mean, whose pixels are 57.6 times as far apart: with ReLUs and small biases
            so are features, and a loss weight found with one scale means something else with the other. "calibrated":
            the inputs of torchvision and the distance times `CAFFE_FACTOR`, for loss weights found with caffe's.

    Raises:
        UserError: a layer is not in the stack, or the numbers of layers and weights differ.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        features: nn.Sequential,
        layers: Sequence[str] = LAYERS,
        layer_weights: Sequence[float] = LAYER_WEIGHTS,
        *,
        input_scale: InputScale = "torchvision",
    ):
        super().__init__()
        if input_scale not in get_args(InputScale):
            raise UserError(
                f"the perceptual loss has no input scale {input_scale!r}; it has {', '.join(get_args(InputScale))}"
            )
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
        self.blue_first, self.factor = input_scale == "caffe", CAFFE_FACTOR if input_scale == "calibrated" else 1.0
        mean, std = (CAFFE_MEAN, (1 / 255,) * 3) if self.blue_first else (MEAN, STD)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
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
        return self.factor * torch.stack(terms).sum()

    def _maps(self, images: Tensor) -> dict[str, Tensor]:
        images = images.flip(-3) if self.blue_first else images
        return tapped(self.features, ((images + 1) / 2 - self.mean) / self.std, self.name_of)[0]


class VGGPerceptual(FeatureDistance):
    """The perceptual loss of VGG19 (Johnson et al., ECCV 2016) as pix2pixHD and SPADE have it, and thesis table 5.5.

    Their official codes feed images of [-1, 1] as they are; here they are normalised as in VGG's training, which the
    weights ask for. Differences of pixels then are 2.2 times as large: a loss weight found with their codes is too.

    Args:
        weights: "torchvision" (downloaded, ImageNet), the path of a state dict of torchvision's vgg19, whole or of its
            features, or None for random ones, which measure little.
        layers: see `FeatureDistance`.
        layer_weights: one for each layer; the default is that of both official codes, and of LSR's.
        input_scale: see `FeatureDistance`. LSR's code has "caffe", with weights of Keras, which are caffe's: give their
            file, with names of torchvision ("features.0.weight"), Keras ("block1_conv1.weight") or caffe
            ("conv1_1.weight"). "calibrated" makes its loss weights fit torchvision's. Its factor is the arithmetic of
            the input scale; the two networks were also trained apart, for which `measured_factor` has to be asked with
            both files.

    Raises:
        UserError: the weights cannot be fetched, are others than VGG19's, or are torchvision's with the scale of caffe;
            see also `FeatureDistance`.
    """

    def __init__(
        self,
        weights: str | None = "torchvision",
        layers: Sequence[str] = LAYERS,
        layer_weights: Sequence[float] = LAYER_WEIGHTS,
        *,
        input_scale: InputScale = "torchvision",
    ):
        if weights == "torchvision" and input_scale == "caffe":
            raise UserError(
                "the weights of torchvision do not read the input scale of caffe: take input_scale 'calibrated', which "
                "brings their distances to it, or give the file of VGG19's weights of caffe or Keras"
            )
        super().__init__(vgg19_features(weights), layers, layer_weights, input_scale=input_scale)


def tapped(features: nn.Sequential, images: Tensor, name_of: Mapping[int, str]) -> tuple[dict[str, Tensor], Tensor]:
    """Return what comes out of the named layers of a stack, by name, and out of its last one.

    Args:
        features: the stack.
        images: (B, 3, H, W) as it reads them.
        name_of: place in the stack to name.
    """
    maps = {}
    for place, layer in enumerate(features):
        images = layer(images)
        if place in name_of:
            maps[name_of[place]] = images
    return maps, images


def measured_factor(ours: nn.Module, wanted: nn.Module, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return by what the loss weight of one distance has to be multiplied to mean the same with another one.

    Args:
        ours: the distance that is trained with, such as a `VGGPerceptual` with torchvision's weights.
        wanted: the distance that the loss weight was found with, such as one with caffe's weights and scale.
        pairs: batches of images (B, 3, H, W) in [-1, 1] and of their targets, of the data and of a training under way.

    Returns:
        The median over the pairs of wanted / ours.

    Raises:
        UserError: there is no pair of different images.
    """
    with torch.no_grad():
        both = [(float(wanted(images, target)), float(ours(images, target))) for images, target in pairs]
    ratios = [theirs / own for theirs, own in both if own > 0]
    if not ratios:
        raise UserError("a factor cannot be measured on no pair of different images; give some of the data")
    return median(ratios)


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
    own = features.state_dict()
    state = convolutions_of(features, state)
    wrong = sorted(own.keys() ^ state.keys()) or [key for key in own if own[key].shape != state[key].shape]
    if wrong:
        raise UserError(
            f"'{weights}' does not hold the weights of torchvision's vgg19: {len(wrong)} names or shapes do not match, "
            f"such as '{wrong[0]}'; give the file of torchvision.models.VGG19_Weights.IMAGENET1K_V1.url"
        )
    features.load_state_dict(state)
    return features


def convolutions_of(features: nn.Sequential, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a VGG's convolutions, with the names that a stack has for them, and none of its classifier.

    Args:
        features: the stack.
        state: names of torchvision with or without "features.", of Keras ("block1_conv1"), or of caffe ("conv1_1",
            "conv_1_1").
    """
    place_of = {name.removeprefix("relu"): place - 1 for place, name in relu_names(features).items()}
    found = {}
    for key, value in state.items():
        layer, _, kind = key.removeprefix("features.").rpartition(".")
        if re.search(r"classifier|^fc\d|^predictions", layer):
            continue
        if match := re.fullmatch(r"(?:block|conv_?)(\d)_(?:conv)?(\d)", layer):
            layer = str(place_of.get("_".join(match.groups()), layer))
        found[f"{layer}.{kind}"] = value
    return found


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
