"""Dubbed faces and reenacted people are compared with the truth as translated images are."""

import math

import pytest
import torch
from torch.utils.data import DataLoader
from torchmetrics.image.fid import FrechetInceptionDistance

from callbacks.generation.comparison import AT_ONCE, compared_frames
from callbacks.generation.frechet_distance import FrechetDistance
from callbacks.generation.reconstruction_evaluation import ReconstructionEvaluation
from networks.feature_networks import SmallFeatures
from networks.reenacted import Reenacted
from tests.callbacks.generation.cases import values
from tests.helpers.dubbed_pairs import Copier, PerfectDubber, dubbed
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.reenacted_subjects import TARGETS, PerfectReenactor, Silent, subject
from visionscapes.errors import UserError

DISTANCE = "Frechet distance (dense-contrastive ViT)"
FRAMES = 2 * AT_ONCE + 9


def batch(seed, setting="cross", frames=FRAMES, size=16):
    generator = torch.Generator().manual_seed(seed)
    faces = torch.randint(0, 200, (1, frames, 3, size, size), generator=generator, dtype=torch.uint8)
    found = torch.ones(1, frames, dtype=torch.bool)
    found[0, 3:7] = False
    return {"task": "dub", "setting": [setting], "name": ["clip-0__clip-1"], "faces": faces, "found": found}


class Brighter(Copier):
    """Adds 5 of 255, and fractions that rounding takes away, where there is a face, and 255 elsewhere."""

    def dub_batch(self, batch):
        lighter = (batch["faces"][0].float() + 5.3) / 255
        faces = torch.where(batch["found"][0, :, None, None, None], lighter, 1.0)
        return dubbed(batch["faces"][0])._replace(faces=faces)


def measured(folder, callback, module, batches):
    quiet_trainer(folder, [callback]).test(module, DataLoader(batches, batch_size=None), verbose=False)
    return callback.results


def test_only_frames_with_a_face_count_and_not_the_one_that_was_given(tmp_path):
    for setting, given in (("cross", 0), ("reconstruction", 1)):
        clip = batch(0, setting)
        compared = list(compared_frames(dubbed(clip["faces"][0]), clip))
        truth = torch.cat([each.truth for each in compared])
        frames = [frame for frame in range(given, FRAMES) if not 3 <= frame < 7]
        torch.testing.assert_close(truth, clip["faces"][0][frames].float() / 255)
        assert {(*each.methods, each.aligned) for each in compared} == {(setting, setting == "reconstruction")}
        assert max(len(each.truth) for each in compared) == AT_ONCE


def test_pixels_are_compared_in_the_setting_that_has_a_truth(tmp_path):
    batches = [batch(0, "reconstruction"), batch(1), batch(2, "reconstruction", frames=11)]
    callback = ReconstructionEvaluation()
    rows = measured(tmp_path, callback, Brighter(), batches)
    assert {(row.method, row.count) for row in rows} == {("reconstruction", FRAMES - 5 + 11 - 5)}
    assert values(callback)["L1", "reconstruction"] == pytest.approx(5, rel=1e-5)
    assert values(callback)["PSNR", "reconstruction"] == pytest.approx(-20 * math.log10(5 / 255), rel=1e-5)


def test_each_setting_has_a_distribution_of_its_own(tmp_path):
    batches = [batch(0, "reconstruction"), batch(1), batch(2)]
    callback = FrechetDistance()
    rows = measured(tmp_path, callback, Brighter(), batches)
    assert [(row.method, row.count) for row in rows] == [("reconstruction", FRAMES - 5), ("cross", 2 * (FRAMES - 4))]
    for setting, clips, given in (("reconstruction", batches[:1], 1), ("cross", batches[1:], 0)):
        metric = FrechetInceptionDistance(SmallFeatures())
        for clip in clips:
            frames = [frame for frame in range(given, FRAMES) if not 3 <= frame < 7]
            metric.update(clip["faces"][0][frames], real=True)
            metric.update(clip["faces"][0][frames] + 5, real=False)
        assert values(callback)[DISTANCE, setting] == pytest.approx(float(metric.compute()), rel=1e-3)


def test_a_copy_has_no_distance(tmp_path):
    callback = FrechetDistance()
    measured(tmp_path, callback, Copier(), [batch(0)])
    assert values(callback)[DISTANCE, "cross"] == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("protocol", [FrechetDistance, ReconstructionEvaluation])
def test_a_module_that_dubs_nothing_is_named(tmp_path, protocol):
    class Silent(PerfectDubber):
        def dub_batch(self, batch):
            return None

    with pytest.raises(UserError, match=f"{protocol.__name__} needs dubbed faces, which Silent does not return"):
        measured(tmp_path, protocol(), Silent(), [batch(0)])


class Darker(PerfectReenactor):
    """Takes 5 of 255 away with one shot and 10 with four, and gives black where no landmarks are known."""

    def test_step(self, batch, batch_idx):
        known = batch["found"][0, :, None, None, None]
        truth = (batch["image"][0].float() / 255).clamp(min=10 / 255)
        images = {count: torch.where(known, truth - less / 255, 0.0) for count, less in ((1, 5), (4, 10))}
        return {f"K = {count}": Reenacted(each, None, count, fine_tuned=False) for count, each in images.items()}


def bright(person):
    found = torch.ones(1, TARGETS, dtype=torch.bool)
    found[0, person] = False
    batch = subject(person, found=found)
    return {**batch, "image": batch["image"].clamp(min=10)}


def test_reenacted_people_are_compared_where_landmarks_are_known(tmp_path):
    callback = ReconstructionEvaluation()
    rows = measured(tmp_path, callback, Darker(), [bright(0), bright(1)])
    assert {(row.method, row.count) for row in rows} == {("K = 1", 2 * TARGETS - 2), ("K = 4", 2 * TARGETS - 2)}
    assert values(callback)["L1", "K = 1"] == pytest.approx(5, rel=1e-5)
    assert values(callback)["L1", "K = 4"] == pytest.approx(10, rel=1e-5)
    assert values(callback)["PSNR", "K = 4"] == pytest.approx(-20 * math.log10(10 / 255), rel=1e-5)


def test_all_methods_of_reenacted_people_are_compared_with_the_same_pictures(tmp_path):
    callback = FrechetDistance()
    batches = [bright(0), bright(1)]
    measured(tmp_path, callback, Darker(), batches)
    for method, less in (("K = 1", 5), ("K = 4", 10)):
        metric = FrechetInceptionDistance(SmallFeatures())
        for batch in batches:
            truth = batch["image"][0][batch["found"][0]]
            metric.update(truth, real=True)
            metric.update(truth - less, real=False)
        assert values(callback)[DISTANCE, method] == pytest.approx(float(metric.compute()), rel=1e-3)


@pytest.mark.parametrize("protocol", [FrechetDistance, ReconstructionEvaluation])
def test_a_module_that_reenacts_nobody_is_named(tmp_path, protocol):
    with pytest.raises(UserError, match=f"{protocol.__name__} needs reenacted people, which Silent does not return"):
        measured(tmp_path, protocol(), Silent(), [subject(0)])
