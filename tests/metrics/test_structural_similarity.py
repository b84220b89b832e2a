import pytest
import torch
from skimage.metrics import structural_similarity as scikit_image
from torchmetrics.image import StructuralSimilarityIndexMeasure

from metrics.structural_similarity import structural_similarity


def pictures(height=24, width=31):
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(3, 3, height, width, generator=generator)
    images = (truth + 0.2 * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    return (images * 255).round().double() / 255, (truth * 255).round().double() / 255


def test_uniform_window_is_that_of_scikit_image():
    images, truth = pictures()
    found = structural_similarity(images, truth, "uniform")
    for each, image, true in zip(found, images, truth, strict=True):
        # Its figure for files: whole numbers from 0 to 255.
        bytes_ = [(x * 255).round().byte().numpy() for x in (image, true)]
        assert float(each) == pytest.approx(scikit_image(*bytes_, channel_axis=0, data_range=255), abs=1e-9)


def test_gaussian_window_is_that_of_torchmetrics():
    images, truth = pictures()
    wanted = StructuralSimilarityIndexMeasure(data_range=1.0)(images, truth)
    found = structural_similarity(images, truth)
    assert found.shape == (3,)
    torch.testing.assert_close(found.mean().float(), wanted, rtol=1e-5, atol=1e-6)
    assert structural_similarity(images[:1], truth[:1]).shape == (1,)


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_equal_images_have_one(window):
    images, _ = pictures()
    similarity = structural_similarity(images, images, window)
    torch.testing.assert_close(similarity, torch.ones(3).double(), rtol=0, atol=1e-5)
