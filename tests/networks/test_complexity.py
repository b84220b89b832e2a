"""Counts against the figures of thesis tables 8.5 and 8.6, which thop gives for the official extractor."""

import pytest
import torch
from torch import nn

from networks.complexity import macs, parameter_count, thesis_macs, thesis_vit_macs
from networks.lift_block import LiFTBlock, Lifted
from networks.vit_features import ViTFeatures

S16 = {"dim": 384, "depth": 12, "patch_size": 16}


@pytest.mark.parametrize(
    ("shape", "side", "published"),
    [(S16, 14, 4.34), (S16, 28, 17.28), (S16, 27, 16.07), (S16, 55, 66.60), (S16 | {"dim": 768}, 14, 17.21)],
)
def test_published_figures_of_the_vit(shape, side, published):
    assert thesis_vit_macs(cells=side**2, **shape) / 1e9 == pytest.approx(published, abs=0.006)


@pytest.fixture(scope="module")
def small():
    return ViTFeatures("vit_small_patch16_224.dino", weights=None)


def test_published_figures_with_lift(small):
    image = torch.zeros(1, 3, 224, 224)
    lifted = Lifted(small, LiFTBlock(384, 16)).eval()
    assert thesis_macs(small, image) / 1e9 == pytest.approx(4.336, abs=5e-4)
    assert thesis_macs(lifted, image) / 1e9 == pytest.approx(5.295, abs=5e-4)
    assert parameter_count(lifted) == 21_665_664 + 1_187_280


def test_honest_count_by_hand(small):
    dim, tokens = 384, 197
    embedding = 196 * dim * 3 * 16**2
    block = tokens * 12 * dim**2 + 2 * tokens**2 * dim
    image = torch.zeros(1, 3, 224, 224)
    assert macs(small, image) == embedding + 11 * block + 196 * dim**2  # the keys of the patches end it
    whole = ViTFeatures("vit_small_patch16_224.dino", weights=None, facet="token")
    assert macs(whole, image) == embedding + 12 * block
    assert macs(whole, image) / 1e9 == pytest.approx(4.60, abs=0.005)


def test_honest_count_of_lift_alone():
    block = LiFTBlock(384, 16).eval()

    class Alone(nn.Module):
        def forward(self, images):
            return block(torch.zeros(len(images), 384, 14, 14), images)

    assert macs(Alone(), torch.zeros(1, 3, 224, 224)) / 1e9 == pytest.approx(0.752, abs=5e-4)


def test_layers_are_counted_as_thop_does():
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 2, 2)
    ).eval()
    image = torch.zeros(2, 3, 6, 10)
    convolution, norm, transposed = 2 * 60 * 8 * 27, 4 * 2 * 60 * 8, 2 * 240 * 4 * 8 * 4
    assert thesis_macs(layers, image) == convolution + norm + transposed
    assert macs(layers, image) == convolution + transposed // 4


@torch.inference_mode()
def test_counts_inside_inference_mode_and_leaves_no_hook():
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(2), nn.Linear(16, 5))
    image = torch.zeros(1, 3, 6, 6)
    expected = 16 * 8 * 27 + 8 * 16 * 5
    assert macs(layers, image) == thesis_macs(layers, image) == expected
    assert not any(layer._forward_hooks for layer in layers)
