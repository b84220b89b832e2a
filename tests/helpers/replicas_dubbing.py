"""How tests start configs/paper/diff2lip.yaml and the baselines of its tables: small networks, replicas of the data."""

from pathlib import Path

from tests.helpers.dubbing_runs import CLIPS, DIFF2LIP, NETWORK
from tests.helpers.prepared_clips import make_prepared_clip
from tests.helpers.runs import ROOT

SIZE = NETWORK["face_size"]
OF_DIFFUSION = {"sampling.steps", "losses.perceptual_start"}  # which a network of one pass has not
ONE_PASS = {key: value for key, value in NETWORK.items() if key not in OF_DIFFUSION}
BASELINES = {"Wav2Lip": ONE_PASS, "Copying": {"face_size": SIZE}}


def words(options: dict, prefix: str) -> list[str]:
    return [f"--{prefix}.{key}={value}" for key, value in options.items()]


def small_baseline(name: str) -> list[str]:
    """Return the words that start a baseline on the embedded world, for one epoch."""
    return [
        *(f"--config={DIFF2LIP}", f"--model={name}", *words(BASELINES[name], "model"), *words(CLIPS, "data")),
        *("--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"),
    ]


def make_data(root: Path) -> None:
    """Write what configs/paper/diff2lip.yaml reads: clips of VoxCeleb2 and LRW, an expert, and a judge."""
    for name in ("voxceleb2_clips", "lrw_clips"):
        for seed, clip in enumerate(("train/a/x", "train/b/x", "val/c/x", "test/d/x", "test/e/x")):
            make_prepared_clip(root / name / f"{clip}.safetensors", 20, seed=seed)
    for name in ("syncnet", "syncnet_judge"):
        (root / f"{name}.safetensors").write_bytes((ROOT / "weights" / f"{name}.safetensors").read_bytes())
