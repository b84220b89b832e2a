"""How much each loss counts, and from when on."""

from dataclasses import dataclass

from lightning_modules.diff2lip.loss import Weighting
from visionscapes.checks import NonNegativeFloat, NonNegativeInt, check_options


class ScheduledLosses:
    """A group of options ``lambda_<name>`` and ``<name>_start`` for every loss."""

    def most(self, name: str) -> float:
        """Return the weight of a loss once it has begun."""
        return float(getattr(self, f"lambda_{name}"))

    def weight(self, name: str, step: int) -> float:
        """Return the weight of a loss at a step of the training, 0 before its start."""
        return self.most(name) if step >= getattr(self, f"{name}_start") else 0.0


@dataclass(frozen=True)
class LossOptions(ScheduledLosses):
    """The weights of Eq. 6.13, which its author has told; L_simple counts 1 from the start.

    Args:
        lambda_l2: of the error of the estimated frames, Eq. 6.9.
        lambda_sync: of the SyncNet, Eq. 6.10.
        lambda_perceptual: of the perceptual distance, Eq. 6.11.
        lambda_gan: of the discriminator of sequences, Eq. 6.12; 0 for no discriminator.
        l2_start: step of the optimiser from which on the loss counts.
        sync_start: likewise.
        perceptual_start: likewise.
        gan_start: likewise, for the discriminator too.
        l2_weighting: of Eq. 6.9 by how much of a frame its noised version shows: "none" (thesis), "alpha_bar" or
            "min_snr", see `snr_weight`.

    Raises:
        UserError: an option out of its bounds.
    """

    lambda_l2: NonNegativeFloat = 1.0
    lambda_sync: NonNegativeFloat = 0.1
    lambda_perceptual: NonNegativeFloat = 0.25
    lambda_gan: NonNegativeFloat = 0.5
    l2_start: NonNegativeInt = 0
    sync_start: NonNegativeInt = 0
    perceptual_start: NonNegativeInt = 0
    gan_start: NonNegativeInt = 0
    l2_weighting: Weighting = "none"

    def __post_init__(self) -> None:
        check_options(LossOptions, vars(self))
