import csv
from datetime import timedelta

import pytest
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch.utils.data import DataLoader

from callbacks.generation.frechet_distance import FrechetDistance
from callbacks.generation.head_evaluation import HeadEvaluation
from callbacks.generation.reconstruction_evaluation import ReconstructionEvaluation
from callbacks.results.result_table import ResultTable
from metrics.keypoint_error import GROUPS
from networks.companion import Companion
from networks.identity import SmallIdentity
from networks.reenacted import Reenacted
from tests.callbacks.generation.cases import values
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.reenacted_subjects import (
    SIZE,
    TARGETS,
    Blind,
    PerfectReenactor,
    Silent,
    Unmoved,
    labels_of,
    loader,
    noisy,
    pictures,
    subject,
)
from visionscapes.errors import UserError


def measured(folder, module, batches, **options):
    callback = HeadEvaluation(**options)
    quiet_trainer(folder, [callback]).test(module, batches, verbose=False)
    return callback


def test_a_perfect_reenactment_is_the_truth(tmp_path):
    callback = measured(tmp_path, PerfectReenactor(), loader([0, 1, 2], consecutive=True))
    found = values(callback)
    for method in ("K = 1", "K = 4"):
        for name in ("NMKE", "L1", "no face", "jitter", *(f"NMKE, {group}" for group in GROUPS)):
            assert found[name, method] == 0
        assert found["ID-SIM", method] == pytest.approx(1, abs=1e-5)
        assert found["layout accuracy", method] == found["layout mIoU", method] == 1
        assert found["oracle agreement", method] == found["layout accuracy", "noisy oracle"]
    labels = [labels_of(pictures(person)[-TARGETS:]) for person in range(3)]
    right = [(noisy(each, person) == each).double().mean() for person, each in enumerate(labels)]
    assert found["layout accuracy", "noisy oracle"] == pytest.approx(float(sum(right)) / 3, abs=1e-6)
    assert 0.02 < found["detector error", "truth"] < 0.08
    assert found["no face", "truth"] == 0
    assert {row.count for row in callback.results if row.metric == "NMKE"} == {3}
    assert ("NMKE", "truth") not in found


def test_the_pose_difference_is_from_the_nearest_shot_that_was_given(tmp_path):
    found = values(measured(tmp_path, PerfectReenactor(), loader([0, 1])))
    for method, other in (("K = 4", "K = 1"), ("K = 1", "source unmoved")):
        for group in GROUPS:
            assert found[f"pose difference, {group}", method] <= found[f"pose difference, {group}", other]
    assert found["pose difference, low", "K = 1"] < found["pose difference, high", "K = 1"]
    assert found["NMKE, low", "source unmoved"] < found["NMKE, high", "source unmoved"]
    assert ("jitter", "K = 1") not in found  # nobody says that the targets are a video


def test_copying_the_first_shot_is_the_source_unmoved(tmp_path):
    found = values(measured(tmp_path, Unmoved(), loader([0, 1])))
    assert found["NMKE", "source unmoved"] > 0.05
    for name in ("NMKE", "ID-SIM", "L1", "no face"):
        assert found[name, "K = 4"] == pytest.approx(found[name, "source unmoved"], abs=1e-6)
    assert found["ID-SIM", "K = 4"] > 0.8
    assert ("layout accuracy", "K = 4") not in found


def test_another_person_in_the_right_pose_is_not_the_person(tmp_path):
    found = values(measured(tmp_path, Blind(), loader([1, 2])))
    assert found["ID-SIM", "K = 1"] < 0.5
    assert found["ID-SIM", "source unmoved"] > 0.8


class Faceless(PerfectReenactor):
    """Gives grey for the first target of each person, and noise where no landmarks are known."""

    def test_step(self, batch, batch_idx):
        images = batch["image"][0].float() / 255
        images[0] = 0.5
        images[~batch["found"][0]] = 1.0
        return {"K = 1": Reenacted(images, None, 1, fine_tuned=False)}


def test_faces_that_are_not_found_are_counted(tmp_path):
    known = torch.ones(1, TARGETS, dtype=torch.bool)
    known[0, -1] = False
    callback = measured(tmp_path, Faceless(), loader([0, 1], found=known))
    found = values(callback)
    assert found["no face", "K = 1"] == pytest.approx(1 / (TARGETS - 1))
    assert found["NMKE", "K = 1"] == 0
    nobody = measured(tmp_path, Faceless(), loader([0], found=torch.zeros_like(known)))
    assert nobody.results == []


def test_exact_landmarks_have_the_error_of_the_detector(tmp_path):
    found = values(measured(tmp_path, PerfectReenactor(), loader([0]), truth="given"))
    assert found["NMKE", "K = 1"] == pytest.approx(found["detector error", "truth"])
    assert found["NMKE", "K = 1"] > 0.02


def test_a_trembling_head_trembles_more_than_the_truth(tmp_path):
    class Trembling(PerfectReenactor):
        def test_step(self, batch, batch_idx):
            images = batch["image"][0].float() / 255
            images[::2] = images[::2].roll(6, dims=3)
            return {"K = 1": Reenacted(images, None, 1, fine_tuned=False)}

    still = pictures(0)[-1]
    batch = subject(0, consecutive=True)
    batch["image"] = batch["image"][:, -1:].expand(-1, TARGETS, -1, -1, -1)
    batch["landmarks"] = torch.from_numpy(still.landmarks).expand(1, TARGETS, 68, 2)
    found = values(measured(tmp_path, Trembling(), DataLoader([batch], batch_size=None)))
    eyes = abs(still.landmarks[45] - still.landmarks[36])[0]
    assert found["jitter", "K = 1"] == pytest.approx(2 * 6 / eyes, rel=0.3)


def test_rows_and_tables(tmp_path, capsys):
    callback = HeadEvaluation()
    trainer = quiet_trainer(tmp_path, [callback, ResultTable()])
    trainer.test(PerfectReenactor(), loader([0, 1]), verbose=False)
    with (tmp_path / "results" / "heads.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows if row["metric"] == "NMKE"] == ["K = 1", "K = 4", "source unmoved"]
    assert {(row.protocol, row.image_size) for row in callback.results} == {("heads", SIZE)}
    assert "heads/NMKE/K = 1" in trainer.callback_metrics
    assert "Reenacted people" in capsys.readouterr().out


def test_the_embedder_that_trained_the_generator_is_told(tmp_path, capsys):
    module = PerfectReenactor((1,))
    measured(tmp_path, module, loader([0]))
    first = capsys.readouterr().out
    assert "no embedder: ID-SIM of the small network for drawn people" in first
    assert "has trained this generator" not in first
    module.expert = SmallIdentity()
    measured(tmp_path, module, loader([0]), embedder=SmallIdentity())
    told = capsys.readouterr().out
    assert "has trained this generator" in told
    assert "no embedder" not in told


def test_validation_is_measured_where_it_is_asked_for(tmp_path):
    for validate in (True, False):
        callback = HeadEvaluation(validate=validate)
        trainer = quiet_trainer(tmp_path, [callback], num_sanity_val_steps=1)
        trainer.fit(PerfectReenactor((1,)), [torch.zeros(1)], loader([0]))
        assert bool(callback.results) == validate


def test_what_it_needs_is_asked_for_before_the_run(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="HeadEvaluation needs reenacted people, which Silent does not return"):
        measured(tmp_path, Silent(), loader([0]))
    with pytest.raises(UserError, match="no weights at"):
        SmallIdentity("none.safetensors")
    monkeypatch.setattr("networks.faces.lite_model.FOLDER", "no_such_package")
    with pytest.raises(UserError, match=r"not installed.*leave HeadEvaluation out"):
        measured(tmp_path, PerfectReenactor(), loader([0]))


def evaluations():
    return [HeadEvaluation(), FrechetDistance(), ReconstructionEvaluation()]


def rows(callbacks):
    return [vars(row) for callback in callbacks for row in callback.results]


def one_rank(rank, root):
    callbacks = evaluations()
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60))
    trainer = quiet_trainer(root, callbacks, strategy=strategy, devices=2, use_distributed_sampler=False)
    trainer.test(Blind(), loader([[0, 1, 3], [2]][rank]), verbose=False)
    torch.save(rows(callbacks), f"{root}/{rank}.pt")


@pytest.mark.slow
def test_two_processes_with_unequal_shares_give_the_figures_of_one(tmp_path):
    callbacks = evaluations()
    quiet_trainer(tmp_path / "one", callbacks).test(Blind(), loader([0, 1, 2, 3]), verbose=False)
    expected = rows(callbacks)
    assert len(expected) > 40
    two_processes(one_rank, str(tmp_path))
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert [list(row.values())[:4] for row in found] == [list(row.values())[:4] for row in expected]
        for mine, wanted in zip(found, expected, strict=True):
            assert mine["count"] == wanted["count"]
            for key in ("value", "standard_error"):
                assert mine[key] == pytest.approx(wanted[key], rel=1e-4, abs=1e-5, nan_ok=True)


class Judged(PerfectReenactor):
    def setup(self, stage):
        self.judge = Companion(SmallIdentity())


def test_an_embedder_that_trained_the_module_is_told(tmp_path, capsys):
    """Modules get the networks of their losses in ``setup``, after callbacks, and keep them as companions."""
    for module, told in ((Judged(), True), (PerfectReenactor(), False)):
        measured(tmp_path, module, loader([0]))
        assert ("the embedder has trained this generator" in capsys.readouterr().out) == told
