"""Results of stages in files, so that a run that is killed in one stage does not begin with the first again."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from pytorch_lightning import Callback, Trainer

from callbacks.results.array_files import read_npz, write_npz

Arrays = dict[str, np.ndarray]


class StageFiles(Callback):
    """Keeps what the stages between two trainings give, in rounds/<round>/<stage>.npz in the run folder.

    A run that is killed in a stage takes up there when it is resumed. A module with such stages asks its trainer's
    callbacks for ``stage_results``; other modules are not concerned. The command line adds this callback to every run.
    """

    def stage_results(self, trainer: Trainer, number: int) -> Callable[[str, str, Callable[[], Arrays]], Arrays]:
        """Return a function of a stage's name, a fingerprint of its inputs and what computes its arrays.

        It returns the arrays, from the file if there is one for the very same inputs.

        Args:
            trainer: of the run.
            number: of the round that the stages belong to.
        """
        return partial(_kept_or_computed, Path(trainer.default_root_dir) / "rounds" / str(number))


def _kept_or_computed(folder: Path, stage: str, inputs: str, compute: Callable[[], Arrays]) -> Arrays:
    path = folder / f"{stage}.npz"
    kept = read_npz(path)
    if kept is not None and str(kept.get("inputs")) == inputs:
        return {key: value for key, value in kept.items() if key != "inputs"}
    arrays = compute()
    write_npz(path, {"inputs": np.array(inputs), **arrays})
    return arrays
