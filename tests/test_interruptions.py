"""Interrupted two and three times, at any moment, by any signal: nothing may differ from the uninterrupted run."""

import random
import signal
import zlib
from pathlib import Path

import pytest

from tests.helpers.chains import differing, left_behind, session
from tests.helpers.dubbing_runs import DIFF2LIP
from tests.helpers.dubbing_runs import SMALL as DUBBED
from tests.helpers.head_runs import LAYOUT, PIPELINE, fine_tuning, with_weights
from tests.helpers.replicas_dubbing import small_baseline
from tests.helpers.replicas_translation import make_edges2handbags
from tests.helpers.runs import ROOT, words
from tests.helpers.sync_runs import CLIPS, NETWORK, SYNCNET
from tests.helpers.translation_runs import FEW_FACES, SIZE
from tests.helpers.translation_runs import small as small_networks

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging
SIGNALS = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM]
STATUS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
QUIET = [
    *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    *("--trainer.log_every_n_steps=1", "--trainer.precision=32-true", "--trainer.callbacks=[]"),
    "--test_after_fit=false",
]
LIMITS = {
    "epochs": ["--trainer.max_epochs=3", "--trainer.limit_train_batches=3"],
    "steps": ["--trainer.max_epochs=-1", "--trainer.max_steps=8", "--trainer.limit_train_batches=3"],
}
SAVING = {"epochs": [], "steps": ["--checkpoint.every_n_train_steps=2"]}


def options(prefix: str, **values: object) -> list[str]:
    return [f"--{prefix}.{name}={value}" for name, value in values.items()]


SUBJECTS = [*QUIET, *options("data", subjects=48, batch_size=12)]
SCENES = [*QUIET, *options("data.init_args", scenes=8, test_scenes=2, image_size=64, batch_size=2)]
WORLD = [
    *QUIET,
    *options("data", tasks="[images]", scenes=20, crops=2, image_size=64, image_sizes="[32]", batch_size=8, held_out=4),
]
FACES = options("data", **FEW_FACES | {"images": 16})
BAGS = options("data", image_size=SIZE, batch_size=1, num_workers=0)
SOURCES = [
    *options("data.init_args", images=6, discovery_images=4, image_size=16, batch_size=12),
    *options("model.init_args", rounds=2, epochs=2, epochs_later=1),
    *options("model.stages", tau=1, k=8),
]
# Contrastive at first: with three steps an epoch the change comes in the second one.
PHASES = options("model", contrastive_steps=4)
TALK = [*NETWORK, *PHASES, *options("data", **CLIPS | {"batch_size": 2, "num_workers": 2})]
HEAD_WORKERS = options("data", rounds=2, val_people=1, num_workers=2)
HELD_OUT = options("data", val_clips=1, clips=6, num_workers=2)
SUPERVISION = {
    "supervised": [],
    "clip": options("model", embedding=16, text_width=16, text_depth=1, text_heads=2),
    "dino": options("model", prototypes=16, hidden=16, bottleneck=8),
    "moco": options("model", hidden=16, projection=8),
    "mae": options("model", decoder_dim=16, decoder_depth=1, decoder_heads=2),
    "beit": options("model", **{"tokenizer.vocabulary": 8, "tokenizer.batches": 1}),
}
METHODS = {
    "lift": ["--config=configs/lift.yaml", *WORLD],
    "dense_contrastive": [
        *("--config=configs/supervision/dense_contrastive.yaml", *QUIET),
        *options("data", scenes=12, crops=2, batch_size=4),
    ],
    **{
        name: [f"--config=configs/supervision/{name}.yaml", *SUBJECTS, *more, "--trainer.callbacks=[]"]
        for name, more in SUPERVISION.items()
    },
    "sparsedet": ["--config=configs/sparsedet.yaml", *SCENES],
    "detector": ["--config=configs/detector.yaml", *SCENES],
    "grit": small_networks("configs/grit.yaml", *QUIET, *FACES),
    "pix2pixhd": small_networks("configs/paper/pix2pixhd_handbags.yaml", *QUIET, *BAGS),
    "spade": small_networks("configs/paper/spade_handbags.yaml", *QUIET, *BAGS),
    "syncnet": [f"--config={SYNCNET}", *QUIET, *TALK],
    # Sequences begin with the third step, and the GAN with the fifth.
    "diff2lip": [
        *(f"--config={DIFF2LIP}", *DUBBED, *QUIET, "--model.optimizer.ema=0.5"),
        *options("model", single_frames=2, **{"losses.gan_start": 4}),
    ],
    # The GAN begins with the third step, and the SyncNet with the first validation.
    "wav2lip": [
        *small_baseline("Wav2Lip"),
        *QUIET,
        *options("model.objective", sync_threshold=100, gan_start=2),
        *HELD_OUT,
    ],
    "lsr_layout": [*LAYOUT, *QUIET, *HEAD_WORKERS],
    # 9 steps with the limit of epochs and 4 with that of steps: the rate falls from the sixth on.
    "lsr_fine_tuning": [*fine_tuning(steps=10), *QUIET, "--data.num_workers=2"],
    "lsr": [*PIPELINE, *QUIET, *HEAD_WORKERS, "--model.adversarial.penalty_every=2"],
    "gan_discovery": ["--config=configs/gan_discovery.yaml", *QUIET, *SOURCES],
}


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


class Chains:
    """Chains of interrupted sessions of one command, and what the uninterrupted run has left.

    Args:
        folder: of the runs.
        words: of the command line, without the name of the run.
        seed: of the moments.
    """

    def __init__(self, folder: Path, words: list[str], seed: int):
        self.folder, self.words, self.random = folder, words, random.Random(seed)
        status, self.moments = self.run("whole")
        assert status == 0
        assert self.moments > 100
        self.whole = left_behind(self.run_folder("whole"))

    def run(self, name: str, signals: dict[int, int] | None = None) -> tuple[int, int]:
        return session(["fit", *self.words, f"--runs_dir={self.folder}", f"--name={name}", "--resume"], signals)

    def run_folder(self, name: str) -> Path:
        (found,) = self.folder.glob(f"*/{name}")
        return found

    def differences(self, name: str, interruptions: int) -> list[str]:
        """Return what a run differs in that is interrupted so many times, and how it was interrupted."""
        for _ in range(interruptions):
            moment, number = self.random.randint(1, self.moments), self.random.choice(SIGNALS)
            status, _ = self.run(name, {moment: number})
            assert status in (STATUS[number], 0), "it was over before that moment, or it was interrupted there"
        status, _ = self.run(name)
        assert status == 0
        return differing(left_behind(self.run_folder(name)), self.whole)


@pytest.mark.parametrize("limit", LIMITS)
def test_interrupted_twice(tmp_path, limit):
    common = words(tmp_path, "", *QUIET, *LIMITS[limit], *SAVING[limit])
    chains = Chains(tmp_path, [word for word in common if word not in ("fit", "--name", "")], seed=1)
    assert chains.differences("chain", 2) == []


@pytest.mark.slow
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("method", METHODS)
def test_method_interrupted_up_to_three_times(tmp_path, monkeypatch, method, limit):
    make_edges2handbags(tmp_path)
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    # GAN discovery knows itself how many epochs its rounds take.
    limits = [word for word in LIMITS[limit] if method != "gan_discovery" or "max_epochs" not in word]
    seed = zlib.crc32(f"{method} {limit}".encode())
    chains = Chains(tmp_path, [*with_weights(METHODS[method], tmp_path), *limits, *SAVING[limit]], seed)
    for interruptions in (1, 2, 3, 3):
        assert chains.differences(f"chain-{interruptions}", interruptions) == []
