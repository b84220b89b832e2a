"""Networks that say which label every pixel of an image has."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.gan.conditions import UNLABELLED, one_hot
from visionscapes.checks import Bounds, ChannelDeviations, ChannelMeans, check_options
from visionscapes.errors import UserError

SMALL_SEGMENTER = "small U-Net of the training pairs"
WIDTHS = (16, 32, 64)  # channels at full, half and quarter resolution
NOT_OURS = -1  # a class of a network that no label stands for

Pairs = Callable[[int], tuple[Tensor, Tensor]]


class SmallSegmenter(nn.Module):
    """A U-Net of three resolutions that learns a data set's labels in some hundred steps, `fitted`.

    Args:
        classes: K.
    """

    title = SMALL_SEGMENTER

    def __init__(self, classes: int):
        super().__init__()
        full, half, quarter = WIDTHS
        self.first = _twice(3, full)
        self.second = _twice(full, half)
        self.third = _twice(half, quarter)
        self.fourth = _twice(quarter + half, half)
        self.fifth = _twice(half + full, full)
        self.last = nn.Conv2d(full, classes, 1)

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of images (B, 3, H, W) in [0, 1]."""
        full = self.first(2 * images - 1)
        half = self.second(F.avg_pool2d(full, 2, ceil_mode=True))
        quarter = self.third(F.avg_pool2d(half, 2, ceil_mode=True))
        half = self.fourth(torch.cat([_doubled(quarter, half), half], 1))
        return self.last(self.fifth(torch.cat([_doubled(half, full), full], 1)))


def _doubled(maps: Tensor, like: Tensor) -> Tensor:
    """Return feature maps of twice the size, or of one less, as others are; nearest neighbours."""
    return maps.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., : like.shape[2], : like.shape[3]]


def _twice(inner: int, outer: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inner, outer):
        layers += [nn.Conv2d(channels, outer, 3, padding=1), nn.GroupNorm(8, outer), nn.ReLU()]
    return nn.Sequential(*layers)


def fitted(
    pairs: Pairs, count: int, classes: int, *, steps: int, device: torch.device, batch_size: int = 8, seed: int = 0
) -> SmallSegmenter:
    """Return a `SmallSegmenter` that has learned pairs, by cross-entropy, Adam and a rate that falls to 0 as a cosine.

    Random numbers of the run are left as they were.

    Args:
        pairs: image (3, H, W) in [0, 1] and labels (H, W) by position, all of one size; those that are ``UNLABELLED``
            are left out.
        count: of the pairs.
        classes: of the labels.
        steps: of the training.
        device: to train on.
        batch_size: pairs a step.
        seed: of the weights and of the order.
    """
    cuda = [device] if device.type == "cuda" else []
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        network = SmallSegmenter(classes).to(device)
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            drawn = [pairs(int(place)) for place in torch.randint(count, (batch_size,))]
            images, labels = (torch.stack([pair[side] for pair in drawn]).to(device) for side in (0, 1))
            wanted = one_hot(labels, classes)  # the cross-entropy of PyTorch adds up in any order on a GPU
            loss = -(wanted * network(images).log_softmax(1)).sum() / wanted.sum().clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.requires_grad_(False).eval()


class TransformersSegmenter(nn.Module):
    """A segmentation network of transformers, from a folder or a hub name, such as SegFormer for the parts of faces.

    Args:
        checkpoint: folder with config.json and weights as safetensors, or the name of one on the hub.
        labels: our label for each of its classes, in their order, -1 for a class that is none of ours; None if its
            classes are ours.
        title: what figures call it; the last part of ``checkpoint`` if None.
        mean: of the channels that it was trained with, colours in [0, 1].
        std: the same.

    Raises:
        UserError: there is no such network, or ``labels`` has another length than its classes.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        checkpoint: str,
        labels: list[Annotated[int, Bounds(least=NOT_OURS, below=UNLABELLED)]] | None = None,
        title: str | None = None,
        mean: ChannelMeans = [0.485, 0.456, 0.406],  # noqa: B006
        std: ChannelDeviations = [0.229, 0.224, 0.225],  # noqa: B006
    ):
        check_options(TransformersSegmenter, locals())
        super().__init__()
        self.network = _transformers_network(checkpoint)
        self.title = title or Path(checkpoint.rstrip(os.sep)).name
        known = self.network.config.num_labels
        if labels is not None and len(labels) != known:
            raise UserError(f"labels has {len(labels)} values, and {checkpoint} has {known} classes: give one for each")
        self.labels = None if labels is None else list(labels)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)
        self.requires_grad_(False).eval()

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K, h, w) of images (B, 3, H, W) in [0, 1], K up to the highest of ``labels``."""
        logits = self.network(pixel_values=(images - self.mean) / self.std).logits.float()
        return logits if self.labels is None else in_our_order(logits, self.labels)


def in_our_order(logits: Tensor, labels: Sequence[int]) -> Tensor:
    """Return logits (B, C, h, w) of other classes as ours (B, K, h, w): of several that are one label the highest.

    Args:
        logits: of C classes.
        labels: (C,), ours for each, or -1.
    """
    ours = logits.new_full((len(logits), max(labels) + 1, *logits.shape[2:]), -torch.inf)
    for theirs, label in enumerate(labels):
        if label != NOT_OURS:
            ours[:, label] = torch.maximum(ours[:, label], logits[:, theirs])
    return ours


def _transformers_network(checkpoint: str) -> Any:
    from transformers import AutoModelForSemanticSegmentation

    try:
        return AutoModelForSemanticSegmentation.from_pretrained(checkpoint, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"there is no segmentation network at '{checkpoint}' ({type(error).__name__}): give a folder that holds "
            "config.json and model.safetensors as transformers saves them, or the name of one on its hub"
        ) from error
