"""What the command line says of a game of two networks: the game itself, how both step, and what makes it faster."""

from dataclasses import dataclass
from typing import Literal

from visionscapes.checks import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    ShareBelowOne,
    check_options,
)


@dataclass(frozen=True)
class AdversarialOptions:
    """The game of generator and discriminator.

    Args:
        gan_loss: "logistic" (non-saturating), "hinge" or "least_squares", see ``networks.gan.losses``.
        r1: weight gamma of the gradient penalty on real images; 0 for none.
        r2: the same on generated ones.
        penalty_every: batches from one penalty to the next, which weighs that much more (lazy regularisation).
        penalty_of: whose gradient is penalised: that of the "logits" (Mescheder et al. 2018), or of the discriminator's
            "loss" of each image, as in LSR's code: the logistic one weighs images by how wrong it is about them.

    Raises:
        UserError: a value that makes no sense.
    """

    gan_loss: Literal["logistic", "hinge", "least_squares"] = "logistic"
    r1: NonNegativeFloat = 0.0
    r2: NonNegativeFloat = 0.0
    penalty_every: PositiveInt = 1
    penalty_of: Literal["logits", "loss"] = "logits"

    def __post_init__(self) -> None:
        check_options(AdversarialOptions, vars(self))


@dataclass(frozen=True)
class OptimizerOptions:
    """How both networks step: Adam, and its learning rate over the training.

    Args:
        lr: learning rate.
        beta1: of Adam.
        beta2: of Adam.
        warmup: steps in which the rate rises from 0.
        decay_epochs: epochs at the end in which the rate falls; all of them if there are fewer.
        decay_floor: share of the rate that it falls to.
        decay: how it falls: "linear", or "hyperbolic", to the share 1 / k after the part k ``decay_floor`` of the way,
            which is what LSR's code does where it says linear.
        clip: largest absolute value of an element of a gradient; None for no limit.
        accumulate: batches whose mean gradient a step takes; the last step of an epoch that of those that are left.
        ema: decay of the moving average of the generator, which then generates; None for none.

    Raises:
        UserError: a value that makes no sense.
    """

    lr: PositiveFloat = 1e-3
    beta1: ShareBelowOne = 0.0
    beta2: ShareBelowOne = 0.999
    warmup: NonNegativeInt = 0
    decay_epochs: NonNegativeFloat = 1.0
    decay_floor: Share = 0.1
    decay: Literal["linear", "hyperbolic"] = "linear"
    clip: PositiveFloat | None = None
    accumulate: PositiveInt = 1
    ema: ShareBelowOne | None = None

    def __post_init__(self) -> None:
        check_options(OptimizerOptions, vars(self))


@dataclass(frozen=True)
class HardwareOptions:
    """What makes training faster on some hardware, and no difference to what is computed.

    Args:
        channels_last: store feature maps with the channels last, which convolutions in bfloat16 are quicker with.
        compile: compile the generator with ``torch.compile``; the discriminator's penalty needs second derivatives,
            which compiled code has not.

    Raises:
        UserError: a value that makes no sense.
    """

    channels_last: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        check_options(HardwareOptions, vars(self))
