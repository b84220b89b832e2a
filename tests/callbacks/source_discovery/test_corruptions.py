import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from callbacks.source_discovery.corruptions import blurred, changed, compressed, resized


def photo(size=24, seed=0):
    """Return a picture (size, size, 3) uint8 with coarse and fine detail."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (4, 4, 3), np.uint8)).resize((size, size))
    noise = generator.integers(-30, 31, (size, size, 3))
    return (np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8)


def far(one, other):
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def test_jpeg_is_that_of_a_file_of_this_quality():
    image = Image.fromarray(photo())
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    assert np.array_equal(np.asarray(compressed(image, 40)), np.asarray(Image.open(file)))
    assert far(compressed(image, 95), image) < far(compressed(image, 40), image) < far(compressed(image, 5), image)


def test_resizing_keeps_the_size_and_takes_detail():
    image = Image.fromarray(photo())
    for factor in (0.01, 0.5, 1.0, 1.5):
        assert resized(image, factor).size == (24, 24)
    assert np.array_equal(np.asarray(resized(image, 1.0)), np.asarray(image))
    assert 0 < far(resized(image, 2.0), image) < far(resized(image, 0.5), image)
    one = np.asarray(resized(image, 0.01))
    assert (one == one[:1, :1]).all(), "a single pixel is left"


def test_blur_by_hand():
    image = Image.fromarray(photo())
    assert np.array_equal(np.asarray(blurred(image, 1.5)), np.asarray(image.filter(ImageFilter.GaussianBlur(1.5))))
    assert np.asarray(blurred(image, 3.0), float).std() < np.asarray(image, float).std()


def test_a_change_sees_every_picture_as_it_is_stored():
    pictures = [photo(seed=seed) for seed in range(3)]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    seen = []

    def turn(image):
        seen.append(np.asarray(image))
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    found = changed(images, turn)
    assert all(np.array_equal(one, other) for one, other in zip(seen, pictures, strict=True))
    assert torch.equal(found, images.flip(3))
    assert (found.dtype, found.is_contiguous()) == (torch.float32, True)
    assert changed(images, lambda image: image).numpy() == pytest.approx(images.numpy())
