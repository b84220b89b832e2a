"""How tests start the stages of LSR: on networks and drawn heads that a CPU trains on in seconds."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

QUIET = [
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    "--trainer.log_every_n_steps=1",
]
SIZE = 32
NETWORK = {
    "image_size": SIZE,
    "network.base": 4,
    "network.most": 8,
    "network.latent": 8,
    "network.levels": 3,
    "network.spade_hidden": 4,
    "experts.perceptual": "small",
}
FULL = {"losses.lambda_vggface": 0, "losses.lambda_id": 0, "discriminator.base": 128}
HEADS = {
    "image_size": SIZE,
    "people": 4,
    "test_people": 2,
    "val_people": 0,
    "frames": 4,
    "shots": 2,
    "sources": 3,
    "targets": 2,
    "batch_size": 2,
}


def words(options: dict[str, object], prefix: str) -> list[str]:
    return [f"--{prefix}.{key}={value}" for key, value in options.items()]


DATA = ["--data=HeadWorld", *words(HEADS, "data")]
# A warm-up of no step, and a rate that falls: the schedule is part of what is resumed.
STEPS = ["--model.optimizer.warmup=2", "--model.optimizer.decay_epochs=1", "--model.optimizer.ema=0.5"]
LAYOUT = ["--model=LSRLayout", *words(NETWORK, "model"), *STEPS, *DATA]
SUBJECT = {"image_size": SIZE, "shots": 3, "sources": 3, "targets": 2}
PIPELINE = ["--model=LSR", *words(NETWORK | FULL, "model"), *STEPS, *DATA]


WEIGHTS = "<weights>"


def fine_tuning(weights: Path | str = WEIGHTS, steps: int = 4) -> list[str]:
    """Return the words that start the third stage.

    Args:
        weights: of the second; what stands for them until there is a file.
        steps: of each network.
    """
    own = {"weights": weights, "finetune.steps": steps, "finetune.check_every": 1, "finetune.lr": 1e-4}
    options = words(NETWORK | FULL | own, "model")
    return ["--model=LSRFineTuning", *options, "--data=HeadSubject", *words(SUBJECT, "data")]


def with_weights(start: list[str], folder: Path) -> list[str]:
    """Return words in which the weights of an untrained second stage stand where they are wanted."""
    if not any(WEIGHTS in word for word in start):
        return start
    path = str(untrained(folder))
    return [word.replace(WEIGHTS, path) for word in start]


def untrained(folder: Path) -> Path:
    """Write and return the weights of a second stage that has drawn them and not learned yet."""
    from lightning_modules import LSR

    torch.manual_seed(0)
    groups: dict[str, Any] = {}
    for name, value in (NETWORK | FULL).items():
        group, _, option = name.partition(".")
        groups[group] = {**groups.get(group, {}), option: value} if option else value
    path = folder / "untrained.safetensors"
    save_file(LSR(**groups).backbone_state(), path)
    return path
