"""What a generator and its discriminator are told about the image that is wanted."""

import torch
from torch import Tensor

UNLABELLED = 255  # in a label map of fewer than 256 classes: a pixel whose label nobody knows


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return a label map as one channel a class.

    It is made on the device of the labels: as float32 it has 4 bytes times ``classes`` a pixel, the map itself one.

    A pixel that is ``UNLABELLED`` is 0 in every channel. SPADE's official code has one more channel for such pixels
    (``contain_dontcare_label``); without it networks have one channel a class whether data leave pixels out or not,
    so that a network of fully labelled maps takes others too, and a convolution tells no label from all labels as well.

    Args:
        labels: (B, H, W) integers, 0 to ``classes`` - 1, or ``UNLABELLED``.
        classes: number of channels.

    Returns:
        (B, classes, H, W) float32, 1 in the channel of the label, if there is one, and 0 elsewhere.

    Raises:
        RuntimeError: a label beyond the classes (on a GPU, of the device).
    """
    channels = torch.zeros(labels.shape[0], classes, *labels.shape[1:], device=labels.device)
    index = labels.long().unsqueeze(1)
    if classes > UNLABELLED:
        return channels.scatter_(1, index, 1)
    known = index != UNLABELLED
    return channels.scatter_(1, index * known, 1).mul_(known)
