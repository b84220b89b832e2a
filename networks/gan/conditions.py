"""What a generator and its discriminator are told about the image that is wanted."""

import torch
from torch import Tensor


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return a label map as one channel a class.

    It is made on the device of the labels: as float32 it has 4 bytes times ``classes`` a pixel, the map itself one.

    Args:
        labels: (B, H, W) integers, 0 to ``classes`` - 1.
        classes: number of channels.

    Returns:
        (B, classes, H, W) float32, 1 in the channel of the label and 0 elsewhere.

    Raises:
        RuntimeError: a label beyond the classes (on a GPU, of the device).
    """
    channels = torch.zeros(labels.shape[0], classes, *labels.shape[1:], device=labels.device)
    return channels.scatter_(1, labels.long().unsqueeze(1), 1)
