from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.strategies import DDPStrategy
from torch.utils.data import DataLoader

from callbacks.detection.coco_evaluation import COCOEvaluation
from callbacks.detection.detection_picture import DetectionPicture
from callbacks.detection.domain_evaluation import DomainEvaluation
from callbacks.detection.evaluation import columns, evaluated
from callbacks.detection.lvis_evaluation import LVISEvaluation
from callbacks.detection.proposal_recall import ProposalRecall
from callbacks.detection.voc_evaluation import VOCEvaluation
from tests.callbacks.detection.cases import FakeData, FakeDetector, as_batch, fuzzed, image, run_test
from tests.helpers.dense_case import TinyModule, object_discovery_loaders
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

FREQUENCIES = ("r", "c", "f", "f", "c")
EVALUATIONS = (COCOEvaluation, VOCEvaluation, LVISEvaluation, DomainEvaluation, ProposalRecall)


def domain_of(image_id):
    return "odd" if int(image_id) % 2 else "even"


# What the protocols ask the datamodule for.
KNOWN: dict[str, Any] = {"frequencies": FREQUENCIES, "domains": ("odd", "even"), "domain_of": domain_of}


def detections():
    # Pictures get ids in an order that sorting changes.
    images = fuzzed(np.random.default_rng(3), pictures=7, ties=True, masks=True, detections=20)
    return [replace(each, image_id=f"{number * 3 % 7}") for number, each in enumerate(images)]


class Training(FakeDetector):
    """Trains on nothing, so that there are several validation epochs."""

    def training_step(self, batch, batch_idx):
        return self.layer(torch.ones(1, 1)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class TrainingData(FakeData):
    def train_dataloader(self):
        return DataLoader(self.images, batch_size=7, collate_fn=as_batch)


def test_records_are_in_float32_on_the_cpu():
    found = {"boxes": torch.ones(2, 4).bfloat16(), "scores": torch.ones(2).bfloat16(), "labels": torch.zeros(2).long()}
    truth = {key: torch.zeros(0) for key in ("labels", "areas", "ignored")} | {"boxes": torch.zeros(0, 4)}
    record = evaluated("a", torch.tensor([5, 6]), found | {"masks": [{}, {}]}, truth | {"masks": None})
    assert record.found["boxes"].dtype == np.float32
    assert (record.size, record.found_masks) == ((5, 6), None)  # masks without any to compare them with


def test_columns_point_to_the_pictures():
    annotated, detected = columns([image(found=[(0, 0.5, 0, 0, 1, 1)] * 2), image([(1, 0, 0, 1, 1)]), image()])
    assert (annotated.pictures.tolist(), detected.pictures.tolist()) == ([1], [0, 0])
    assert (annotated.boxes.shape, detected.boxes.shape) == ((1, 4), (2, 4))
    assert annotated.masks is None


@pytest.mark.parametrize("callback", EVALUATIONS)
def test_other_tasks_are_left_alone(tmp_path, callback):
    trainer = quiet_trainer(tmp_path, [callback()])
    data = FakeData([], **KNOWN)
    data.test_dataloader = lambda: object_discovery_loaders(2)["discovery@32"]
    trainer.test(FakeDetector([]), datamodule=data, verbose=False)
    assert not trainer.callback_metrics
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("callback", [COCOEvaluation(), DetectionPicture()])
def test_a_module_that_detects_nothing_is_named(tmp_path, callback):
    trainer = quiet_trainer(tmp_path, [callback])
    with pytest.raises(UserError, match="TinyModule does not return"):
        trainer.test(TinyModule(), datamodule=FakeData(detections()), verbose=False)


def test_another_datamodule_is_named(tmp_path):
    with pytest.raises(UserError, match="LVISEvaluation needs a datamodule of object detection"):
        quiet_trainer(tmp_path, [LVISEvaluation()]).test(TinyModule(), object_discovery_loaders(2), verbose=False)


def test_checkpoints_can_follow_it_and_the_sanity_check_does_not_count(tmp_path):
    seen = []

    class Watched(COCOEvaluation):
        def figures(self, images, datamodule):
            seen.append(len(images))
            return super().figures(images, datamodule)

    images = [image([(0, 0, 0, 10, 10)], image_id=number) for number in range(3)]  # nothing is detected
    checkpoint = ModelCheckpoint(tmp_path / "checkpoints", monitor="coco/AP/boxes", mode="max")
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        callbacks=[Watched(), checkpoint],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=1,
        num_sanity_val_steps=2,
    )
    trainer.fit(Training(images), datamodule=TrainingData(images))
    assert seen == [3]
    assert checkpoint.best_model_score == 0


def one_of_two(root, callbacks):
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60))  # rather fail than hang
    return quiet_trainer(root, callbacks, strategy=strategy, devices=2, use_distributed_sampler=False)


def one_rank(rank, root):
    images = detections()
    for name, first in {"uneven": 5, "all": 7}.items():  # how many pictures the first rank has
        mine = images[first:] if rank else images[:first]
        callbacks = [callback() for callback in EVALUATIONS]
        trainer = one_of_two(f"{root}/{name}", [*callbacks, DetectionPicture(2)])
        data = FakeData(mine, known=(0,), **KNOWN)
        if not mine:  # this rank has a batch of another task only
            data.test_dataloader = lambda: object_discovery_loaders(1)["discovery@32"]
        trainer.test(FakeDetector(images), datamodule=data, verbose=False)
        logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
        torch.save([[str(row) for each in callbacks for row in each.results], logged], f"{root}/{name}-{rank}.pt")

    class Failing(COCOEvaluation):
        def figures(self, images, datamodule):
            raise UserError("no figures today")

    trainer = one_of_two(root, [Failing()])
    with pytest.raises(RuntimeError if rank else UserError):
        trainer.test(FakeDetector(images), datamodule=FakeData(images), verbose=False)


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(tmp_path):
    callbacks = [callback() for callback in EVALUATIONS]
    run_test(tmp_path / "one", callbacks, detections(), known=(0,), **KNOWN)
    two_processes(one_rank, str(tmp_path))
    expected = [str(row) for each in callbacks for row in each.results]
    assert len(expected) == 2 * 7 + 3 + 2 * 5 + 3 * 7 + 3
    for name in ("uneven", "all"):
        first, second = (torch.load(tmp_path / f"{name}-{rank}.pt") for rank in (0, 1))
        assert first[0] == second[0] == expected
        assert str(first[1]) == str(second[1])
        assert "lvis/APr/masks" in first[1]
        for file in (tmp_path / "one" / "results").iterdir():
            assert file.read_text() == (tmp_path / name / "results" / file.name).read_text()
        assert (tmp_path / name / "pictures" / "detections.png").exists()
