import math

import numpy as np
import pytest
import torch

from metrics.power_spectrum import (
    PowerSpectrum,
    azimuthal_power,
    coefficients,
    log_distance,
    radii,
    upper_half,
    upper_share,
)

SIDES = [15, 16]


def by_loops(image):
    """Return the azimuthal power of one channel (S, S) as it is defined, coefficient by coefficient."""
    side = len(image)
    spectrum = np.abs(np.fft.fft2(image)) ** 2
    half = side // 2
    rings = [[] for _ in range(half + 1)]
    for u in range(-half, half + 1):
        for v in range(-half, half + 1):
            radius = math.isqrt(u * u + v * v)
            if radius <= half:
                rings[radius].append(spectrum[u % side, v % side])
    return np.array([np.mean(ring) for ring in rings]), [len(ring) for ring in rings]


@pytest.mark.parametrize("side", SIDES)
def test_is_the_mean_over_every_ring(side):
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    found = azimuthal_power(images)
    assert found.shape == (2, side // 2 + 1)
    for row, image in zip(found, images, strict=True):
        curves = [by_loops(channel.double().numpy())[0] for channel in image]
        np.testing.assert_allclose(row.numpy(), np.mean(curves, 0), rtol=1e-9)
    assert coefficients(side).tolist() == by_loops(images[0, 0].numpy())[1]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("frequency", [(3, 0), (0, 5), (3, 4)])
def test_a_wave_is_at_its_own_radius(side, frequency):
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    wave = torch.cos(2 * math.pi * (frequency[0] * x + frequency[1] * y).double() / side)
    power = azimuthal_power(wave[None, None])[0]
    radius = math.isqrt(sum(k * k for k in frequency))
    # Two coefficients of (S^2 / 2)^2 each, in the mean over the ring.
    wanted = 2 * (side**2 / 2) ** 2 / int(coefficients(side)[radius])
    assert float(power[radius]) == pytest.approx(wanted)
    assert float(power.sum() - power[radius]) == pytest.approx(0, abs=1e-9 * wanted)


@pytest.mark.parametrize("side", [31, 32])
def test_white_noise_is_flat(side):
    noise = torch.randn(400, 1, side, side, generator=torch.Generator().manual_seed(0))
    power = azimuthal_power(noise).mean(0)
    np.testing.assert_allclose(power / side**2, np.ones(len(power)), atol=0.2)
    np.testing.assert_allclose(power[3:] / side**2, np.ones(len(power) - 3), atol=0.05)
    inside = coefficients(side)[1:]
    share = inside[upper_half(side)[1:]].sum() / inside.sum()
    assert float(upper_share(power, side)) == pytest.approx(float(share), abs=0.01)


def test_all_power_of_an_odd_side_is_that_of_the_pixels():
    image = torch.rand(1, 1, 15, 15, generator=torch.Generator().manual_seed(0)).double()
    # Waves within the Nyquist frequency alone, so that nothing is in the corners, which are left out.
    inside = torch.fft.ifftshift(radii(15) <= 7)
    image = torch.fft.ifft2(torch.fft.fft2(image) * inside).real
    total = (azimuthal_power(image)[0] * coefficients(15)).sum()
    assert float(total) == pytest.approx(15**2 * float(image.square().sum()))  # Parseval


def test_mean_and_deviation_over_images():
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    metric = PowerSpectrum(16)
    for part in images.split(2):
        metric.update(part)
    found, each = metric.compute(), azimuthal_power(images)
    torch.testing.assert_close(found.power, each.mean(0))
    torch.testing.assert_close(found.deviation, each.std(0))
    assert found[2] == 5


def test_distances():
    truth = torch.tensor([1.0, 2.0, 4.0])
    assert float(log_distance(truth, truth)) == 0
    assert float(log_distance(10 * truth, truth)) == pytest.approx(1)
    assert float(log_distance(truth, 100 * truth)) == pytest.approx(2)
    assert math.isfinite(log_distance(torch.zeros(3), truth))
    assert upper_half(16).nonzero().flatten().tolist() == [5, 6, 7, 8]
    assert upper_half(15).nonzero().flatten().tolist() == [4, 5, 6, 7]


def test_images_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="square"):
        azimuthal_power(torch.rand(1, 3, 8, 16))
