"""The losses of Diff2Lip: tensors in, scalar out, in float32 at least."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from networks.sync_network import precise

Weighting = Literal["none", "alpha_bar", "min_snr"]
LARGEST_SNR = 5.0  # gamma of Hang et al., "Efficient diffusion training via min-SNR weighting strategy", ICCV 2023


def simple_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Return the squared error of a prediction over the masked part, Eq. 6.7: L_simple.

    The mean is over what the mask leaves. With the authors' helper functions, whose use in training is not published,
    it would be over all elements, which is half of it for a lower half.

    Args:
        prediction: (..., 3, h, w) of the noise, or whatever is predicted.
        target: the same shape, see `Diffusion.target`.
        mask: (..., 1, h, w), 1 where it counts.
    """
    return masked_mean((precise(prediction) - precise(target)).square(), mask)  # Eq. 6.7


def l2_loss(sample: Tensor, truth: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the squared error of the estimated frames over the masked part, Eq. 6.9.

    Args:
        sample: (N, F, 3, h, w) estimates of windows.
        truth: the same shape.
        mask: (N, F, 1, h, w), 1 where it counts.
        weight: (N,) of the windows, see `snr_weight`; all alike if None.
    """
    error = (precise(sample) - precise(truth)).square()  # Eq. 6.9
    return masked_mean(error if weight is None else weight[:, None, None, None, None] * error, mask)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of values (..., C, h, w) where a mask (..., 1, h, w) is 1; 0 where it is so nowhere."""
    return (values * mask).sum() / (mask.expand_as(values).sum()).clamp(min=1)


def snr_weight(alphas: Tensor, weighting: Weighting) -> Tensor | None:
    """Return the weights (N,) of errors of estimated frames by how much of a frame is left in its noised version.

    Args:
        alphas: (N,) alpha-bar at the windows' steps.
        weighting: "alpha_bar" itself; "min_snr", the ratio of signal and noise alpha-bar / (1 - alpha-bar), at most 5;
            or "none".
    """
    if weighting == "none":
        return None
    return alphas if weighting == "alpha_bar" else (alphas / (1 - alphas)).clamp(max=LARGEST_SNR)


def sync_loss(logits: Tensor) -> Tensor:
    """Return -log of the probability that the expert gives to windows and their sound, Eq. 6.10.

    The thesis writes the SyncNet's output itself, which is to be large where they fit; Wav2Lip's loss is followed.

    Args:
        logits: (N,) of that probability.
    """
    return F.softplus(-precise(logits)).mean()  # Eq. 6.10


def perceptual_loss(sample: Tensor, truth: Tensor, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the distance of estimated and true frames in the features of a trained network, Eq. 6.11.

    Args:
        sample: (N, 3, h, w) in [-1, 1], which gradients pass to.
        truth: the same shape.
        distance: (N,) of images in [0, 1].
    """
    return precise(distance((sample + 1) / 2, (truth + 1) / 2)).mean()  # Eq. 6.11


def sequences(frames: Tensor) -> Tensor:
    """Return windows (N, F, 3, h, w) as the discriminator of Eq. 6.12 sees them, frames as channels: (N, 3 F, h, w).

    Eq. 6.12 has log D of generated and log(1 - D) of true sequences, to be summed with the other losses by one who
    minimises: its roles are swapped. Here the discriminator tells true sequences from generated ones, and the generator
    wants to be taken for true; the two losses are in `networks.gan.losses`.
    """
    return frames.flatten(1, 2)
