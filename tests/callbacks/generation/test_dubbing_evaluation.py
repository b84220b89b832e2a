import csv
from datetime import timedelta

import pytest
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch.utils.data import DataLoader

from callbacks.generation.dubbing_evaluation import DubbingEvaluation, trained_by
from callbacks.generation.dubbing_figures import NAMES
from callbacks.generation.frechet_distance import FrechetDistance
from callbacks.generation.reconstruction_evaluation import ReconstructionEvaluation
from callbacks.results.result_table import ResultTable
from metrics.mouth_readout import correlation
from networks.dubbed import Dubbed
from networks.face_region import FaceRegion
from networks.sync_network import SyncNetwork
from tests.callbacks.generation.cases import values
from tests.helpers.dubbed_pairs import SIZE, Copier, PerfectDubber, Still, dubbed, loader, pair, person
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

PAIRS = [(0, 0), (1, 1), (0, 1), (1, 0)]


def measured(folder, module, batches=None, **options):
    callback = DubbingEvaluation(**options)
    quiet_trainer(folder, [callback]).test(module, loader(PAIRS) if batches is None else batches, verbose=False)
    return callback


def test_a_perfect_dub_is_as_good_as_the_truth(tmp_path):
    callback = measured(tmp_path, PerfectDubber())
    found = values(callback)
    assert {row.count for row in callback.results if row.metric == "Sync_c"} == {2}
    assert found["Sync_c", "reconstruction"] == found["Sync_c", "truth"] > 0.3
    assert found["Sync_c", "cross"] > 0.3
    assert found["offset", "cross"] == 0
    assert found["LMD", "reconstruction"] == 0
    assert 0 < found["LMD", "cross"] < 1
    assert found["r driving", "cross"] > 0.95
    assert found["mesh r driving", "cross"] > 0.7
    assert found["amplitude", "cross"] == pytest.approx(1, abs=0.2)
    assert found["mesh amplitude", "reconstruction"] == pytest.approx(1)
    alike = correlation(*(torch.from_numpy(person(index).opening) for index in (0, 1)))
    assert found["r own", "truth"] == pytest.approx(alike)
    assert found["r own", "cross"] == pytest.approx(alike, abs=0.1)
    assert ("r own", "reconstruction") not in found
    assert ("LMD", "truth") not in found
    assert found["movement in speech", "reconstruction"] == pytest.approx(found["movement in speech", "truth"])


def test_a_copy_of_the_video_moves_its_own_mouth(tmp_path):
    found = values(measured(tmp_path, Copier(), loader(PAIRS[2:])))
    assert found["r own", "cross"] > 0.99
    assert found["r driving", "cross"] == pytest.approx(found["r own", "truth"], abs=0.05)
    assert found["jitter", "cross"] == 0
    assert found["Sync_c", "cross"] < 0.3
    assert not any(metric == "Sync_c" and method == "truth" for metric, method in found)  # nobody has the own sound


def test_a_still_face_moves_nothing(tmp_path):
    found = values(measured(tmp_path, Still(), loader(PAIRS[1:3])))
    for metric in ("r driving", "amplitude", "mesh r driving", "mesh amplitude", "movement in speech"):
        assert found[metric, "cross"] == 0
    assert found["r own", "cross"] == 0
    assert found["jitter", "reconstruction"] < 0


def test_rows_and_tables(tmp_path, capsys):
    callback = DubbingEvaluation()
    trainer = quiet_trainer(tmp_path, [callback, ResultTable()])
    trainer.test(PerfectDubber(), loader(PAIRS), verbose=False)
    assert {row.metric for row in callback.results} == set(NAMES)
    assert {(row.protocol, row.image_size) for row in callback.results} == {("dubbing", SIZE)}
    with (tmp_path / "results" / "dubbing.csv").open() as file:
        assert [float(row["count"]) for row in csv.DictReader(file)] == [row.count for row in callback.results]
    assert "dubbing/r driving/cross" in trainer.callback_metrics
    shown = capsys.readouterr().out
    (header,) = [line for line in shown.splitlines() if "r driving" in line and "r own" in line]
    assert header.index("r driving") < header.index("r own") < header.index("amplitude")
    assert "±" in shown


def test_without_landmarks_nothing_that_needs_them_is_said(tmp_path):
    found = values(measured(tmp_path, PerfectDubber(), landmarks=False))
    assert {metric for metric, _ in found} == {"Sync_c", "Sync_d", "offset", "r driving", "r own", "amplitude"}


def test_the_driving_landmarks_of_the_data_stand_in_for_its_faces(tmp_path):
    batch = pair(0, 1)
    with_faces = values(measured(tmp_path, PerfectDubber(), DataLoader([batch], batch_size=None)))
    del batch["driving_faces"]
    without = values(measured(tmp_path, PerfectDubber(), DataLoader([batch], batch_size=None)))
    assert without["LMD", "cross"] != with_faces["LMD", "cross"]
    assert 0 < without["LMD", "cross"] < 3


def test_lmd_across_people_does_not_depend_on_the_size_of_the_driving_head(tmp_path):
    batch = pair(0, 1)
    del batch["driving_faces"]
    smaller = {**batch, "driving_landmarks": batch["driving_landmarks"] / 2}
    found = [
        values(measured(tmp_path, Copier(), DataLoader([each], batch_size=None)))["LMD", "cross"]
        for each in (batch, smaller)
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_without_a_known_truth_the_landmarks_of_the_data_are_it(tmp_path):
    batch = pair(0, 1)
    del batch["opening"], batch["driving_opening"]
    assert values(measured(tmp_path, PerfectDubber(), DataLoader([batch], batch_size=None)))["r driving", "cross"] > 0.9


class MouthAlone(PerfectDubber):
    """Generates a still mouth and keeps what is around it, a chin that moves with the mouth that was there."""

    region = FaceRegion(left=0.25, top=0.5, right=0.75, bottom=0.95)

    def dub_batch(self, batch):
        faces = batch["faces"][0].float() / 255
        patches = self.region.of(faces[:1]).expand(len(faces), -1, -1, -1)
        return Dubbed(self.region.paste(faces, patches), 2 * patches - 1, torch.ones_like(patches[:, :1]), self.region)


def test_what_moves_beside_the_generated_pixels_does_not_count(tmp_path):
    found = values(measured(tmp_path, MouthAlone(), loader([(0, 1)]), landmarks=False))
    assert (found["r own", "cross"], found["amplitude", "cross"]) == (0, 0)


class Spoiled(PerfectDubber):
    """Gives noise where no face was found."""

    def dub_batch(self, batch):
        whole = super().dub_batch(batch)
        noise = torch.rand(whole.faces.shape, generator=torch.Generator().manual_seed(0))
        return dubbed((torch.where(batch["found"][0, :, None, None, None], whole.faces, noise) * 255).byte())


def test_frames_without_a_face_do_not_count(tmp_path):
    found = torch.ones(1, len(person(0)), dtype=torch.bool)
    found[0, 20:30] = False
    batches = DataLoader([pair(0, 1, found=found)], batch_size=None)
    spoiled, whole = (values(measured(tmp_path, module, batches)) for module in (Spoiled(), PerfectDubber()))
    assert spoiled == pytest.approx(whole, nan_ok=True)


def test_a_clip_without_a_face_or_of_few_frames_has_no_figures(tmp_path):
    short = pair(0, 1)
    for key in ("faces", "landmarks", "boxes", "found", "driving_landmarks", "driving_faces", "opening"):
        short[key] = short[key][:, :6]
    short["driving_opening"] = short["driving_opening"][:, :6]

    class Short(Copier):
        pass

    callback = measured(tmp_path, Short(), DataLoader([short], batch_size=None))
    assert ("r driving", "cross") not in values(callback)
    nobody = pair(0, 1, found=torch.zeros(1, len(person(0)), dtype=torch.bool))
    callback = measured(tmp_path, Copier(), DataLoader([nobody], batch_size=None))
    assert callback.results == []


@pytest.mark.parametrize("validate", [True, False])
def test_validation_is_measured_where_it_is_asked_for(tmp_path, validate):
    callback = DubbingEvaluation(landmarks=False, validate=validate)
    trainer = quiet_trainer(tmp_path, [callback], num_sanity_val_steps=1)
    trainer.fit(PerfectDubber(), [torch.zeros(1)], loader(PAIRS[:1]))
    assert bool(callback.results) == validate


def test_a_judge_that_trained_the_generator_is_told(tmp_path, capsys):
    class Trained(PerfectDubber):
        def __init__(self):
            super().__init__()
            self.sync = SyncNetwork.from_file("weights/syncnet_judge.safetensors")

    judge = SyncNetwork.from_file("weights/syncnet_judge.safetensors")
    assert trained_by(Trained(), judge)
    assert not trained_by(PerfectDubber(), judge)
    module = Trained()
    module.sync.scale.data += 1
    assert not trained_by(module, judge)
    measured(tmp_path, Trained(), loader(PAIRS[:1]), landmarks=False)
    assert "the judge has trained this generator" in capsys.readouterr().out


def test_what_it_needs_is_asked_for_before_the_run(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no weights at"):
        measured(tmp_path, PerfectDubber(), judge="none.safetensors")
    with pytest.raises(UserError, match="DubbingEvaluation needs dubbed faces, which Silent does not return"):
        measured(tmp_path, Silent())
    monkeypatch.setattr("networks.faces.lite_model.FOLDER", "no_such_package")
    with pytest.raises(UserError, match=r"not installed.*landmarks=false"):
        measured(tmp_path, PerfectDubber())


class Silent(PerfectDubber):
    def dub_batch(self, batch):
        return None


def evaluations():
    return [DubbingEvaluation(), FrechetDistance(), ReconstructionEvaluation()]


def rows(callbacks):
    return [vars(row) for callback in callbacks for row in callback.results]


def one_rank(rank, root):
    callbacks = evaluations()
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60))
    trainer = quiet_trainer(root, callbacks, strategy=strategy, devices=2, use_distributed_sampler=False)
    trainer.test(Copier(), loader([PAIRS[:1], PAIRS[1:]][rank]), verbose=False)
    torch.save(rows(callbacks), f"{root}/{rank}.pt")


@pytest.mark.slow
def test_two_processes_with_unequal_shares_give_the_figures_of_one(tmp_path):
    callbacks = evaluations()
    quiet_trainer(tmp_path / "one", callbacks).test(Copier(), loader(PAIRS), verbose=False)
    expected = rows(callbacks)
    assert len(expected) > 40
    two_processes(one_rank, str(tmp_path))
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert [list(row.values())[:4] for row in found] == [list(row.values())[:4] for row in expected]
        for mine, wanted in zip(found, expected, strict=True):
            assert mine["count"] == wanted["count"]
            for key in ("value", "standard_error"):
                assert mine[key] == pytest.approx(wanted[key], rel=1e-5, abs=1e-6, nan_ok=True)
