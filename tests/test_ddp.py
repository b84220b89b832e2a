"""Two processes give what one process gives with the same global batch, through the real entry point."""

import csv
from pathlib import Path

import pytest

from tests.helpers.dubbing_runs import CLIPS as DUBBED_CLIPS
from tests.helpers.dubbing_runs import DIFF2LIP
from tests.helpers.dubbing_runs import SMALL as SMALL_DIFF2LIP
from tests.helpers.head_runs import LAYOUT, PIPELINE
from tests.helpers.replicas_dubbing import small_baseline
from tests.helpers.runs import events, lift_words, parameters, run_apart, run_here, words
from tests.helpers.sync_runs import CLIPS, NETWORK, QUIET, SYNCNET

pytestmark = pytest.mark.slow


def largest_difference(ours: Path, theirs: Path) -> float:
    ours_state, theirs_state = parameters(ours), parameters(theirs)
    assert ours_state.keys() == theirs_state.keys()
    return max((ours_state[name].double() - theirs_state[name].double()).abs().max().item() for name in ours_state)


def column(folder: Path, name: str) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def run_two(command: list[str]) -> None:
    status, stderr = run_apart(command)
    assert status == 0, stderr


@pytest.mark.parametrize("batch_norm", ["false", "true"])
def test_two_processes_equal_one(tmp_path, batch_norm):
    # 65 samples in batches of 4 are 9 batches for one process and 8 for the other.
    options = ["--model.dropout", "0", "--model.batch_norm", batch_norm, "--data.eval_size", "65"]
    one = run_here(words(tmp_path, "one", *options, "--data.batch_size", "4"))
    run_two(words(tmp_path, "two", *options, "--data.batch_size", "2", processes=2))
    two = tmp_path / "resumemodule" / "two"
    assert largest_difference(one, two) < 1e-6
    assert column(one, "mean_index") == column(two, "mean_index") == [32.0, 32.0]

    seen = [[event[5] for event in events(two, rank) if event[0] == "train"] for rank in (0, 1)]
    together = [sorted(a + b) for a, b in zip(*seen, strict=True)]
    assert together == [sorted(event[5]) for event in events(one) if event[0] == "train"]


def test_two_processes_train_the_lift_of_one(tmp_path):
    # In double precision, because Adam makes steps of any size of rounding errors where a gradient is nearly zero.
    options = ["--trainer.precision", "64-true"]
    one = run_here(lift_words(tmp_path, "one", *options))
    run_two(lift_words(tmp_path, "two", *options, processes=2))
    two = tmp_path / "lift" / "two"
    assert largest_difference(one, two) < 1e-9
    for name in ("val/loss", "val/loss_bilinear"):
        assert column(two, name) == pytest.approx(column(one, name), rel=1e-6)


def sync_words(runs: Path, subcommand: str, name: str, *options: str, processes: int = 1) -> list[str]:
    clips = CLIPS | {"test_clips": 5, "val_clips": 3, "batch_size": 4 // processes}
    return [
        *(subcommand, f"--config={SYNCNET}", f"--runs_dir={runs}", f"--name={name}", *QUIET, *NETWORK),
        *(f"--data.{key}={value}" for key, value in clips.items()),
        *("--model.network.norm=group", "--model.objective=contrastive"),  # neither draws pairs nor counts on the batch
        *(f"--model.augmentation.{each}" for each in ("flip=false", "colour=0", "shift=0", "loudness=0")),
        *([f"--trainer.devices={processes}", "--trainer.strategy=ddp"] if processes > 1 else []),
        *options,
    ]


def test_two_processes_train_test_and_predict_the_syncnet_of_one(tmp_path):
    """An odd number of clips is tested and predicted, each once."""
    options = ["--trainer.max_epochs=2", "--trainer.precision=64-true"]
    one = run_here(sync_words(tmp_path, "fit", "one", *options))
    run_two(sync_words(tmp_path, "fit", "two", *options, processes=2))
    two = tmp_path / "syncnet" / "two"
    assert largest_difference(one, two) < 1e-9
    for name in ("val/bce", "val/auc", "test/bce", "test/auc", "lip_sync/Sync_d/video"):
        assert column(two, name) == pytest.approx(column(one, name), rel=1e-5)
    assert (two / "results" / "offsets.csv").read_text() == (one / "results" / "offsets.csv").read_text()

    checkpoint = f"--ckpt_path={one / 'checkpoints' / 'last.ckpt'}"
    alone = run_here(sync_words(tmp_path, "predict", "alone", checkpoint))
    run_two(sync_words(tmp_path, "predict", "together", checkpoint, processes=2))
    table = (alone / "sync.csv").read_text()
    assert table.count("clip-") == 5
    assert (tmp_path / "syncnet" / "together" / "sync.csv").read_text() == table


def test_two_processes_change_from_moments_to_pairs(tmp_path):
    """The temperature, a parameter that pairs have no use for, is no error."""
    options = ["--trainer.max_epochs=2", "--model.objective=contrastive_then_pair", "--model.contrastive_steps=2"]
    run_two(sync_words(tmp_path, "fit", "two", *options, processes=2))
    assert column(tmp_path / "syncnet" / "two", "train/contrastive") == [1, 1, 0, 0]


def dubbing_words(start: list[str], runs: Path, name: str, *options: str, processes: int = 1) -> list[str]:
    """Training on as many clips in all, and three of the test, which two processes cannot share evenly."""
    clips = DUBBED_CLIPS | {"clips": 8, "test_clips": 3, "batch_size": 4 // processes}
    return [
        *("fit", *start, f"--runs_dir={runs}", f"--name={name}", *QUIET),
        *(f"--data.{key}={value}" for key, value in clips.items()),
        *("--trainer.max_epochs=2", "--model.adversarial.r1=0"),
        *([f"--trainer.devices={processes}", "--trainer.strategy=ddp"] if processes > 1 else []),
        *options,
    ]


def test_two_processes_train_and_test_the_one_pass_network_of_one(tmp_path):
    """It draws no numbers; the discriminator, the moving average and the held-out loss of the SyncNet take part."""
    start = [*small_baseline("Wav2Lip"), "--model.optimizer.ema=0.5", "--model.objective.gan_start=1"]
    options = ["--trainer.precision=64-true", "--model.objective.sync_threshold=1e-6", "--data.val_clips=3"]
    one = run_here(dubbing_words(start, tmp_path, "one", *options))
    run_two(dubbing_words(start, tmp_path, "two", *options, processes=2))
    two = one.parent / "two"
    assert largest_difference(one, two) < 1e-9
    for name in ("val/sync", "reconstruction/PSNR/reconstruction", "dubbing/Sync_d/cross", "dubbing/LMD/cross"):
        assert column(two, name) == pytest.approx(column(one, name), rel=1e-5)
    for protocol in ("dubbing", "reconstruction"):
        ours, theirs = (
            (folder / "results" / f"{protocol}.csv").read_text().splitlines()[1].rpartition(",")[2]
            for folder in (one, two)
        )
        assert ours == theirs  # how many were measured


def head_words(start: list[str], runs: Path, name: str, *options: str, processes: int = 1) -> list[str]:
    """Training on as many heads in all, and three of the test, which two processes cannot share evenly."""
    return [
        *("fit", *start, f"--runs_dir={runs}", f"--name={name}", *QUIET, "--trainer.max_epochs=2"),
        *(f"--data.{key}={value}" for key, value in {"test_people": 3, "batch_size": 2 // processes}.items()),
        *(
            "--trainer.precision=64-true",
            "--test_after_fit=true",
            "--trainer.callbacks=[callbacks.ReconstructionEvaluation]",
        ),
        *([f"--trainer.devices={processes}", "--trainer.strategy=ddp"] if processes > 1 else []),
        *options,
    ]


@pytest.mark.parametrize("stage", ["LSRLayout", "LSR"])
def test_two_processes_train_and_test_the_heads_of_one(tmp_path, stage):
    """The image beside the layout, which has no loss in the full pipeline, is no error."""
    start = {"LSRLayout": LAYOUT, "LSR": PIPELINE}[stage]
    one = run_here(head_words(start, tmp_path, "one"))
    run_two(head_words(start, tmp_path, "two", processes=2))
    two = one.parent / "two"
    assert largest_difference(one, two) < 1e-9
    name = "reconstruction/PSNR/K = 1"
    assert column(two, name) == pytest.approx(column(one, name), rel=1e-5)
    assert column(two, name)


@pytest.mark.parametrize("start", ["together", "later"])
def test_two_processes_train_diff2lip(tmp_path, start):
    """Losses that begin later, the discriminator too, leave no parameter without a part in a step."""
    late = [f"--model.losses.{name}_start=2" for name in ("gan", "sync", "l2")] if start == "later" else []
    words = [f"--config={DIFF2LIP}", *SMALL_DIFF2LIP, "--model.optimizer.ema=0.5", *late]
    run_two(dubbing_words(words, tmp_path, "two", processes=2))
    two = tmp_path / "diff2lip" / "two"
    assert all(value.isfinite().all() for value in parameters(two).values())
    assert len(column(two, "train/simple")) == 4
    assert len(column(two, "train/gan")) == (2 if start == "later" else 4)
    assert column(two, "dubbing/Sync_d/cross")
