"""Power of images at every spatial frequency, averaged over directions."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override


class Spectrum(NamedTuple):
    """Mean spectrum of images; R = side // 2 + 1 radii, 0 to the Nyquist frequency.

    Attributes:
        power: (R,) float64, mean over the images.
        deviation: (R,) float64, standard deviation over the images, NaN for fewer than two.
        count: number of images.
    """

    power: Tensor
    deviation: Tensor
    count: int  # type: ignore[assignment]  # hides tuple.count


def radii(side: int, device: torch.device | None = None) -> Tensor:
    """Return the integer radius (N, N) of every coefficient of the centred spectrum of images of this side.

    N is the side where it is odd, and one more where it is even: the Nyquist row and column stand at both ends.
    """
    half = side // 2
    offset = torch.arange(-half, half + 1, device=device)
    squares = offset[:, None] ** 2 + offset[None] ** 2
    return squares.double().sqrt().floor().long()  # exact: the root of a square number is exact in IEEE arithmetic


def coefficients(side: int) -> Tensor:
    """Return how many coefficients (R,) of the centred spectrum have each radius up to the Nyquist frequency."""
    return torch.bincount(radii(side).flatten())[: side // 2 + 1]


def azimuthal_power(images: Tensor) -> Tensor:
    """Return the power spectrum of images averaged over directions and channels.

    |F|^2 of the plain two-dimensional FFT of each channel, without window or normalisation; of an even side the
    Nyquist row and column are repeated, so that the centred spectrum is symmetric; then the mean over all coefficients
    with the same distance from the centre, rounded down. Corners beyond the Nyquist frequency are left out. Thesis
    5.3.4 after K. Schwarz et al., "On the frequency bias of generative models", NeurIPS 2021.

    Args:
        images: (B, C, S, S).

    Returns:
        (B, S // 2 + 1) float64 at frequencies 0, 1, ... periods an image.

    Raises:
        ValueError: images that are not square.
    """
    side = images.shape[-1]
    if images.shape[-2] != side:
        raise ValueError(f"the spectrum is one of square images, not of {tuple(images.shape[-2:])}")
    power = torch.fft.fftshift(torch.fft.fft2(images.double()).abs().square(), dim=(-2, -1))
    if side % 2 == 0:
        power = torch.cat([power, power[..., :1, :]], -2)
        power = torch.cat([power, power[..., :1]], -1)
    rings = radii(side, images.device).flatten()
    sums = power.new_zeros(*power.shape[:2], int(rings.max()) + 1).index_add_(-1, rings, power.flatten(2))
    return (sums[..., : side // 2 + 1] / coefficients(side).to(sums)).mean(1)


def upper_share(power: Tensor, side: int) -> Tensor:
    """Return which share of the power lies above half of the Nyquist frequency, the mean colour left out.

    Args:
        power: (R,) of ``azimuthal_power``.
        side: of the images.

    Returns:
        Scalar in [0, 1] of the power within the Nyquist frequency; NaN without any.
    """
    total = (power * coefficients(side).to(power))[1:]
    return total[upper_half(side)[1:]].sum() / total.sum()


def upper_half(side: int) -> Tensor:
    """Return which radii (R,) are above half of the Nyquist frequency."""
    return torch.arange(side // 2 + 1) > side // 2 / 2


def log_distance(power: Tensor, truth: Tensor) -> Tensor:
    """Return the mean absolute difference of the decadic logarithms of two spectra.

    Args:
        power: (R,).
        truth: (R,).

    Returns:
        Scalar; 1 where the power is ten times too high or low at all frequencies. Power below 1e-12, such as that of
        a constant image, is taken for 1e-12.
    """
    return (power.clamp(min=1e-12).log10() - truth.clamp(min=1e-12).log10()).abs().mean()


class PowerSpectrum(Metric):
    """Mean over images of ``azimuthal_power``, summed up in float64.

    Args:
        side: of the square images in pixels.
        kwargs: of ``torchmetrics.Metric``.
    """

    full_state_update = False
    sums: Tensor
    squares: Tensor
    images: Tensor

    def __init__(self, side: int, **kwargs: Any):
        super().__init__(**kwargs)
        for name in ("sums", "squares"):
            self.add_state(name, torch.zeros(side // 2 + 1, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    @override
    def update(self, images: Tensor) -> None:
        """Add images (B, C, S, S)."""
        power = azimuthal_power(images)
        self.sums += power.sum(0)
        self.squares += power.square().sum(0)
        self.images += len(images)

    @override
    def compute(self) -> Spectrum:
        """Return the mean spectrum."""
        count = int(self.images)
        mean = self.sums / count
        variance = (self.squares - count * mean.square()).clamp(min=0) / max(count - 1, 1)
        return Spectrum(mean, variance.sqrt() if count > 1 else torch.full_like(mean, torch.nan), count)
