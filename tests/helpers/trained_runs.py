"""Small trainings of every method through the real entry point, each once for all tests of a process."""

from functools import cache
from pathlib import Path

import pytest

import cli
from tests.helpers.head_runs import with_weights
from tests.helpers.runs import ROOT

QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
LIMITS = ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=0", "--trainer.limit_test_batches=0"]
QUICK = ("LiFT", "Detector", "GANDiscovery", "GRIT")


@cache
def trained(name: str) -> Path:
    """Return the run folder of a small training of an exported module, in a folder that outlives the test."""
    from tests.test_lives import LIVES

    life = LIVES[name]
    folder = _folder() / name
    folder.mkdir()
    limits = life.limits if name == "GANDiscovery" else LIMITS  # a discovery is about all of its images
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        words = [*with_weights(life.start, folder), *QUIET, *limits, "--test_after_fit=false"]
        return cli.main(["fit", *words, f"--runs_dir={folder}", "--name=tiny"]).run_folder


@cache
def _folder() -> Path:
    """Return a folder that is removed when the process ends."""
    import atexit
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="trained-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
