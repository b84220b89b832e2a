"""What one stage of LSR leaves for the next: checkpoints of runs, or files of the weights alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_modules.origin import told_by_file
from networks.weights import load_state, read_state_dict
from visionscapes.errors import UserError

SHOWN = ("kept.", "average.module.", "generator.")  # prefixes of the network that reenacts, the best first


def told_by(path: str, stage: str, option: str) -> dict[str, Any]:
    """Return what the file of a stage says of the training, see ``KnowsOrigin.know_origin``.

    Args:
        path: of the file.
        stage: the class that was trained, for the messages.
        option: of the model that names the file, likewise.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    if not Path(path).expanduser().is_file():
        raise UserError(
            f"no weights at '{path}': give a checkpoint or weights of {stage} as --model.{option}; where --ckpt_path"
            f" names a checkpoint, which holds them, --model.{option}=null does"
        )
    return told_by_file(path)


def load_stage(network: nn.Module | None, path: str, stage: str, *, discriminator: nn.Module | None = None) -> None:
    """Load what an earlier stage has learned, strictly.

    Args:
        network: receives the weights of the network that reenacts; of a checkpoint those of the moving average, if it
            has one.
        path: a checkpoint of a run, or a .safetensors file of the weights.
        stage: the class that was trained, for the messages.
        discriminator: receives those of the discriminator, which the file has to have.

    Raises:
        UserError: the file is missing, cannot be read, or does not fit, or there is nothing to load it into.
    """
    if network is None:
        raise UserError(
            f"'{path}' holds a layout predictor, and the model has none: give it with --model.spatial=layout or "
            "segmentation, or leave --model.layout_weights out"
        )
    state = read_state_dict(path)
    remedy = (
        f"Give a checkpoint or weights of {stage}, and --model.network, --model.classes, --model.image_size and what "
        "else the model is made of as in its cli_config.yaml."
    )
    if discriminator is not None:
        if not any(name.startswith("discriminator.") for name in state):
            raise UserError(
                f"'{path}' holds no discriminator, which fine-tuning learns against: give a checkpoint or weights of "
                f"{stage} that has one, or --model.losses.lambda_gan=0"
            )
        load_state(discriminator, below("discriminator.", state), f"'{path}'", remedy)
    prefix = next((each for each in SHOWN if any(name.startswith(each) for name in state)), "")
    load_state(network, below(prefix, state), f"'{path}'", remedy)


def below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what of a state dict stands below a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
