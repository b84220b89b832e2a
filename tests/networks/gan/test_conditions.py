import pytest
import torch
from torch.nn import functional as F

from networks.gan.conditions import one_hot


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_one_channel_a_class(dtype):
    labels = torch.randint(0, 5, (2, 4, 6), generator=torch.Generator().manual_seed(0)).to(dtype)
    channels = one_hot(labels, 7)  # more classes than occur
    assert channels.dtype == torch.float32
    assert torch.equal(channels, F.one_hot(labels.long(), 7).permute(0, 3, 1, 2).float())


def test_a_label_beyond_the_classes_is_an_error():
    with pytest.raises(RuntimeError, match="out of bounds"):
        one_hot(torch.full((1, 2, 2), 3), 3)
