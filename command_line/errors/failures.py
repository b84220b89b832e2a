"""The end of a run that had begun and failed: what is the user's to mend, and the ranks that are left."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning import Trainer
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from command_line.errors.construction import of_batch, of_image_size, of_lightning, of_memory, of_service
from visionscapes.errors import UserError


def explain_failure(
    error: BaseException, module: str, checkpoint: Path | None, different: Sequence[str]
) -> UserError | None:
    """Return what to say of an error of a run, or None for one that is no mistake of the user.

    Args:
        error: that ended the run.
        module: name of the module's class.
        checkpoint: that the run started from.
        different: what differs between the checkpoint and the configuration.
    """
    if checkpoint and (reason := _misfit(error)):
        there = f" ({'; '.join(different)})" if different else ""
        return UserError(
            f"checkpoint {checkpoint} does not fit {module}{there}: {reason}. Give the checkpoint of this method, or "
            "the arguments that it was trained with"
        )
    if operator := _without_determinism(error):
        return UserError(
            f"--trainer.deterministic=true cannot be had on this device: {operator} has no deterministic "
            "implementation. Leave the option out, or give --trainer.deterministic=warn to be told of such operators "
            "without an end; docs/varying_on_gpus.yaml lists them"
        )
    return (
        of_memory(error, module)
        or of_batch(error, module)
        or of_image_size(error, module)
        or of_service(error)
        or of_lightning(error)
    )


def end_ranks(trainer: Trainer, *, at_once: bool) -> None:
    """Wait for the ranks that this process started; those that hang in a collective are ended."""
    children = getattr(trainer.strategy.launcher, "procs", [])
    waiting, children[:] = list(children), []  # Lightning's observer would kill this process when it sees one end.
    for process in waiting:
        try:
            if at_once:
                process.terminate()
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()


def _misfit(error: BaseException) -> str:
    """Return why a checkpoint could not be restored, or nothing if ``error`` is of another kind."""
    text = " ".join(str(error).split())
    if isinstance(error, RuntimeError) and "loading state_dict" in text:
        return text.split(":", 1)[1].strip()[:300].rstrip(".")
    if isinstance(error, ValueError | KeyError | MisconfigurationException) and re.search(
        "loaded state dict|Trying to restore|You restored a checkpoint", text
    ):
        return text[:300].rstrip(".")
    return ""


def _without_determinism(error: BaseException) -> str:
    """Return the operator that has no deterministic implementation, or nothing if ``error`` is of another kind."""
    found = re.match(r"(\w+)[\w()]* does not have a deterministic implementation", str(error))
    return found[1] if found and isinstance(error, RuntimeError) else ""
