"""The network that tells sources apart: a backbone, three fully connected layers and a classifier that changes."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from networks.timm_backbones import create_backbone
from visionscapes.checks import PositiveInt, ShareBelowOne, check_options
from visionscapes.errors import UserError


@dataclass(frozen=True)
class AttributionNetworkOptions:
    """What the network that tells sources apart is made of.

    Args:
        backbone: of timm (4.3.1), or "plain_cnn" (`networks.plain_cnn`).
        weights: of the backbone: "timm" (as the official code), a local file, or None for random ones.
        backbone_args: further arguments of ``timm.create_model``.
        hidden: width of the first two fully connected layers (4.5.1).
        dim: width of the third, the features (4.3.1).
        dropout: probability (4.5.1).
        most_classes: sources and clusters that the classifier has room for.

    Raises:
        UserError: a value that makes no sense.
    """

    backbone: str = "resnet50"
    weights: str | None = None
    backbone_args: dict[str, Any] | None = None
    hidden: PositiveInt = 512
    dim: PositiveInt = 128
    dropout: ShareBelowOne = 0.5
    most_classes: PositiveInt = 4096

    def __post_init__(self) -> None:
        check_options(AttributionNetworkOptions, vars(self))


class AttributionNetwork(nn.Module):
    """Feature extractor f and classifier g of thesis 4.2.2, with the layers of 4.5.1.

    A pooled backbone, then three fully connected layers (hidden, hidden, ``dim``), each with ReLU and dropout. The
    features are the output of the last ReLU without dropout: none is negative.

    The number of classes changes from round to round. The classifier has rows for as many as may come, of which the
    first ``classes`` are in use: its parameters stay the same objects of the same shape, so that optimiser, DDP and
    checkpoints need not know.

    Args:
        options: what it is made of.
        classes: in use at the start.

    Raises:
        UserError: timm has no such model, or weights cannot be read or do not fit.
    """

    def __init__(self, options: AttributionNetworkOptions, classes: int):
        super().__init__()
        hidden, dim = options.hidden, options.dim
        created: Any = create_backbone(options.backbone, options.weights, options.backbone_args or {})
        self.backbone = created
        widths = [created.num_features, hidden, hidden, dim]
        layers = [
            nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.Dropout(options.dropout))
            for before, after in pairwise(widths)
        ]
        self.layers = nn.Sequential(*layers)
        for layer in self.layers.modules():
            if isinstance(layer, nn.Linear):  # torch's own weights would make the features 15 times as small
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        self.classifier = nn.Linear(dim, options.most_classes)
        self.classes, self.dim = classes, dim

        self.to(memory_format=torch.channels_last)  # up to twice as fast, on CPUs too

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, dim) of images (B, 3, H, W) in [0, 1], normalised here with mean and std 0.5."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.layers(self.backbone(2 * images - 1))

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        return nn.functional.linear(
            features, self.classifier.weight[: self.classes], self.classifier.bias[: self.classes]
        )

    def new_classifier(self, classes: int, seed: int) -> None:
        """Forget the classifier and begin another one of ``classes`` classes (4.2.6), drawn from ``seed``.

        Raises:
            UserError: more classes than there are rows.
        """
        if classes > len(self.classifier.bias):
            raise UserError(
                f"{classes} sources and clusters are more than the {len(self.classifier.bias)} that the classifier was "
                "made for: lower --model.init_args.stages.k"
            )
        self.classes = classes
        bound = self.dim**-0.5
        generator = torch.Generator().manual_seed(seed % 2**63)
        with torch.no_grad():
            for parameter in self.classifier.parameters():  # as nn.Linear draws its own
                parameter.copy_(torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator))

    def freeze_all_but_last_stage(self) -> None:
        """Keep the backbone before its last stage as it is; the fully connected layers go on learning (4.5.8.1).

        Raises:
            UserError: the backbone has no stages.
        """
        last = self.backbone.feature_info[-1]["module"]
        for name, parameter in self.backbone.named_parameters():
            if name.startswith(last):
                break
            parameter.requires_grad_(False)
        else:
            raise UserError(f"{type(self.backbone).__name__} has no stage {last!r} to learn: leave out freeze_from")
