"""What a module says of the Trainer's options that it does itself."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer

from visionscapes.errors import UserError


def check_trains(module: LightningModule) -> None:
    """Refuse to train what cannot be trained, and says so in ``cannot_fit``.

    Raises:
        UserError: the module says what to do instead.
    """
    if reason := getattr(module, "cannot_fit", ""):
        raise UserError(reason)


def check_replaced_options(module: LightningModule, trainer: Trainer) -> None:
    """Refuse options of the Trainer that a module does not let it use.

    A module that steps or clips by itself names in ``replaces_trainer_options`` what to give instead, by the name of
    the Trainer's option.

    Raises:
        UserError: such an option is given.
    """
    instead: dict[str, str] = getattr(module, "replaces_trainer_options", {})
    given: dict[str, Any] = {"gradient_clip_val": trainer.gradient_clip_val}
    if trainer.accumulate_grad_batches != 1:
        given["accumulate_grad_batches"] = trainer.accumulate_grad_batches
    for option, value in given.items():
        if value is None or (option not in instead and module.automatic_optimization):
            continue
        name = type(module).__name__
        way = f"give {instead[option]}" if option in instead else "its training step would have to do it"
        raise UserError(f"--trainer.{option} is not for {name}, which steps its optimisers itself: {way}")
