import pytest
import torch
from torch.nn import functional as F

from networks.gan.conditions import UNLABELLED, one_hot


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_one_channel_a_class(dtype):
    labels = torch.randint(0, 5, (2, 4, 6), generator=torch.Generator().manual_seed(0)).to(dtype)
    channels = one_hot(labels, 7)  # more classes than occur
    assert channels.dtype == torch.float32
    assert torch.equal(channels, F.one_hot(labels.long(), 7).permute(0, 3, 1, 2).float())


def test_a_label_beyond_the_classes_is_an_error():
    with pytest.raises(RuntimeError, match="out of bounds"):
        one_hot(torch.full((1, 2, 2), 3), 3)


def test_a_pixel_without_a_label_has_no_channel():
    labels = torch.tensor([[[0, UNLABELLED], [2, UNLABELLED]]], dtype=torch.uint8)
    channels = one_hot(labels, 3)
    assert channels.sum(1).tolist() == [[[1, 0], [1, 0]]]
    assert torch.equal(channels[..., 0], one_hot(labels[..., :1], 3)[..., 0])
    assert one_hot(labels, 256)[0, 255].tolist() == [[0, 1], [0, 1]], "of 256 classes it is one"
