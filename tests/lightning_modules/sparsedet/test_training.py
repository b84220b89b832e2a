"""SparseDet and its baselines through the trainer: resumed, on two processes, in bfloat16, until they learn."""

import json

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from callbacks.run.reproducible_steps import ReproducibleSteps
from datamodules import DetectionScenes, SecondView
from metrics.coco_average_precision import coco_curves
from metrics.detections import Annotated, Detected
from tests.helpers.runs import run_apart
from tests.helpers.small_detectors import FPN, ONE, SMALL, TWO
from tests.lightning_modules.sparsedet.cases import KINDS, Batches, batch, module, sure_of, trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*tensors of the backbone"),
]
METHODS = ("Detector", "TwoViewDetector", "PseudoLabels", "CoMining", "SparseDet")


class Steps(Callback):
    """Records loss and number of mined boxes of every step."""

    def __init__(self):
        self.seen: list[tuple[int, float, float]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        mined = trainer.callback_metrics["train/mined"].item()
        self.seen.append((trainer.global_step, outputs["loss"].item(), mined))


def fitted(tmp_path, epochs, ckpt_path=None):
    """Return steps of a training of three steps an epoch, of which the fifth is the first that mines."""
    options = {"warmup_steps": 2, "milestones": [4], "mining_start": 3, "tau_ppm": 0.3, "merging_start": 4, "lr": 0.001}
    found = module(**options)
    sure_of(found, 5)  # so that merging shows
    steps = Steps()
    run = trainer(tmp_path, steps, ReproducibleSteps(0), max_epochs=epochs, limit_val_batches=0)
    data = Batches([batch(ONE, TWO), batch(TWO, []), batch([], ONE)])
    run.fit(found, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    run.save_checkpoint(tmp_path / f"{epochs}.ckpt")
    return steps.seen, found


def test_a_resumed_training_mines_at_the_same_steps(tmp_path):
    whole, expected = fitted(tmp_path / "whole", 2)
    first, _ = fitted(tmp_path / "half", 1)
    second, found = fitted(tmp_path / "half", 2, ckpt_path=tmp_path / "half" / "1.ckpt")
    assert first + second == whole
    assert [step for step, _, mined in whole if mined > 0] == [5, 6]
    for ours, theirs in zip(found.parameters(), expected.parameters(), strict=True):
        assert ours.equal(theirs)


@pytest.mark.parametrize("kind", METHODS)
def test_bf16_mixed(tmp_path, kind):
    found = module(kind, **({"mining_start": 0, "tau_ppm": 0.3} if kind == "SparseDet" else {}))
    data = Batches([batch(ONE, []), batch(TWO, ONE)])
    run = trainer(tmp_path, max_epochs=1, precision="bf16-mixed", limit_val_batches=1, enable_checkpointing=False)
    run.fit(found, datamodule=data)
    assert run.callback_metrics["train/loss"].isfinite()
    assert all(each.dtype == torch.float32 and each.isfinite().all() for each in found.parameters())
    predictions = run.predict(found, datamodule=data)
    for each in (each for pictures in predictions for each in pictures):
        assert each["boxes"].dtype == each["scores"].dtype == torch.float32
        assert each["boxes"].isfinite().all()


@pytest.mark.parametrize("at_test", ["augmented", "clean"])
def test_second_view_at_inference(at_test):
    """Table 3.6: a clean view is the picture itself, an augmented one is the same every time."""
    data = DetectionScenes(2, 2, 64, batch_size=2, second_view=SecondView(at_test=at_test))
    data.setup("test")
    (found,), (again,) = data.test_dataloader(), data.test_dataloader()
    assert all(a.equal(b) for a, b in zip(found["second_view"], again["second_view"], strict=True))
    assert found["second_view"][0].equal(found["image"][0]) == (at_test == "clean")
    with torch.no_grad():
        (first, _), (second, _) = (module().eval().predict_step(each, 0) for each in (found, again))
    assert first["boxes"].equal(second["boxes"])


OPTIONS: dict[str, dict] = {"Detector": {}, "SparseDet": {"mining_start": 1, "tau_ppm": 0.45, "tau_m": 0.2}}


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPTIONS)
def test_two_processes_stay_equal(tmp_path, kind):
    """Rank 0 has annotations, rank 1 has none at all."""
    given = {"config": FPN, "overrides": json.dumps(SMALL[FPN]), "lr": 0.01, "warmup_steps": 0} | OPTIONS[kind]
    command = [
        *("fit", "--runs_dir", str(tmp_path), "--name", "two"),
        *("--model", f"lightning_modules.{kind}"),
        *(word for key, value in given.items() for word in (f"--model.init_args.{key}", str(value))),
        *("--data", "tests.lightning_modules.sparsedet.cases.HalfEmpty"),
        *("--trainer.callbacks+", "tests.lightning_modules.sparsedet.cases.StateWriter"),
        *("--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"),
        *("--trainer.max_epochs", "1", "--trainer.limit_val_batches", "0"),
        *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
    ]
    status, errors = run_apart(command)
    assert status == 0, errors
    (first, second) = (torch.load(path, weights_only=True) for path in sorted(tmp_path.rglob("rank-?.pt")))
    assert len(first["losses"]) == len(second["losses"]) == 4
    assert np.isfinite(first["losses"] + second["losses"]).all()
    assert first["parameters"].keys() == second["parameters"].keys()
    for name, value in first["parameters"].items():
        assert value.equal(second["parameters"][name]), name
    fresh = dict(module(kind).named_parameters())
    assert not any(value.equal(fresh[name]) for name, value in first["parameters"].items() if value.ndim > 1)
    if kind == "SparseDet":
        assert first["mined"] > 0
        assert second["mined"] > 0


def average_precision(found, loader) -> float:
    """Return AP at an IoU of 0.5 on the training pictures."""
    truths, detections, place = [], [], 0
    for each in loader:
        for predicted, truth in zip(found.eval().predict_step(each, 0), each["truth"], strict=True):
            truths.append((np.full(len(truth["labels"]), place), truth))
            detections.append((np.full(len(predicted["labels"]), place), predicted))
            place += 1

    def column(rows, key):
        return np.concatenate([row[key].numpy() for _, row in rows])

    annotated = Annotated(
        np.concatenate([row[0] for row in truths]),
        *(column(truths, key) for key in ("labels", "boxes", "areas", "ignored")),
    )
    detected = Detected(
        np.concatenate([row[0] for row in detections]),
        *(column(detections, key) for key in ("labels", "boxes", "scores")),
    )
    return coco_curves(annotated, detected, [(64, 64)] * place, 12).average_precision(50)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Detector", "SparseDet"])
def test_overfits_eight_scenes(tmp_path, kind):
    """With the detector and the rate of configs/sparsedet.yaml."""
    view = SecondView(contrast=None, brightness=[0.8, 1.2], saturation=None, erase_area=None)
    data = DetectionScenes(8, 8, 64, objects=[1, 3], batch_size=4, second_view=view)
    data.setup("fit")
    data.test = data.train
    torch.manual_seed(0)
    options = {"optimizer": "adamw", "lr": 0.005, "warmup_steps": 10, "clip": 10.0}
    if kind == "SparseDet":
        options |= {"mining_start": 40, "merging_start": 40}
    found = KINDS[kind](FPN, backbone_weights="weights/detection/resnet_scenes.safetensors", **options)
    with torch.no_grad():
        before = average_precision(found, data.test_dataloader())
    run = trainer(tmp_path, max_steps=80, max_epochs=-1, limit_val_batches=0, enable_checkpointing=False)
    run.fit(found, datamodule=data)
    with torch.no_grad():
        after = average_precision(found, data.test_dataloader())
    assert before < 0.1
    assert after > 0.5
