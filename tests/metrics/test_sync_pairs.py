import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from metrics.sync_pairs import SyncPairs, clustered_auc, held_out_pairs


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_accuracy_and_auc_by_hand():
    metric = SyncPairs()
    metric.update(torch.tensor([0.9, 0.6]), torch.tensor([0.2, 0.7]), 0.5)
    metric.update(torch.tensor([0.4]), torch.tensor([0.5]), 0.5)
    metric.update(torch.zeros(0), torch.zeros(0), 0.5)
    figures = metric.compute()
    assert float(figures["accuracy"].value) == pytest.approx(4 / 6)  # .9, .6, .2 and .5 are right
    assert float(figures["AUC"].value) == pytest.approx((3 + 2 + 1) / 9)
    assert figures["AUC"].count == figures["accuracy"].count == 2


def test_the_area_is_that_of_scikit_learn_with_ties_too():
    true = torch.randint(0, 8, (200,), generator=generator()).double() + 1
    false = torch.randint(0, 8, (200,), generator=generator(1)).double()
    labels = [1] * 200 + [0] * 200
    wanted = roc_auc_score(labels, torch.cat([true, false]).numpy())
    assert float(clustered_auc(true, false, torch.arange(200)).value) == pytest.approx(wanted)


def test_scores_that_are_not_finite_have_no_area():
    true = torch.tensor([0.5, torch.nan, 0.7], dtype=torch.float64)
    assert torch.isnan(clustered_auc(true, torch.zeros(3, dtype=torch.float64), torch.arange(3)).value)


def test_errors_are_those_of_clips_drawn_again():
    """Windows of a clip are alike: 20 copies of each pair make the area no surer."""
    spread, told = [], []
    for seed in range(60):
        true = torch.randn(30, generator=generator(seed)).double() + 1
        false = torch.randn(30, generator=generator(1000 + seed)).double()
        clips = torch.arange(30).repeat_interleave(20)
        estimate = clustered_auc(true.repeat_interleave(20), false.repeat_interleave(20), clips)
        spread.append(float(estimate.value))
        told.append(float(estimate.standard_error))
    assert np.mean(told) == pytest.approx(np.std(spread), rel=0.2)


def test_parts_add_up():
    whole, parts = SyncPairs(), [SyncPairs(), SyncPairs()]
    for number, count in enumerate([3, 7, 5, 4]):
        scores = torch.rand(2, count, generator=generator(number))
        whole.update(*scores, 0.5)
        parts[number // 2].update(*scores, 0.5)
    parts[0].merge_state(parts[1])
    for name, estimate in parts[0].compute().items():
        torch.testing.assert_close(torch.stack(estimate[:2]), torch.stack(whole.compute()[name][:2]))
    assert math.isnan(SyncPairs().compute()["AUC"].value)


class TestPairs:
    video = F.normalize(torch.randn(30, 64, generator=generator()), dim=1)

    def test_true_pairs_are_the_windows_and_false_ones_are_five_frames_apart(self):
        numbers = torch.eye(30)
        true, false = held_out_pairs(numbers, numbers, name="a")
        assert true.tolist() == [1.0] * 30
        assert false.tolist() == [0.0] * 30
        # Each embedding says at which frame it is, so that the product tells how far apart two windows are.
        angle = torch.arange(30) / 20
        places = torch.stack([angle.cos(), angle.sin()], dim=1)
        apart = torch.acos(held_out_pairs(places, places, name="a")[1]) * 20
        assert apart.min() > 4.9
        assert apart.max() > 15

    def test_the_draw_depends_on_the_name_alone(self):
        first, again, other = (held_out_pairs(self.video, self.video, name=name)[1] for name in ("a", "a", "b"))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_only_known_windows_take_part(self):
        known = torch.zeros(30, dtype=torch.bool)
        known[[2, 4, 20]] = True
        true, false = held_out_pairs(self.video, self.video, known)
        assert len(true) == 3
        cosines = (self.video @ self.video.T)[[2, 4, 20]]
        assert torch.isclose(false[:, None], cosines).any(1).all()
        assert torch.isclose(false[0], cosines[2, 2])  # 4 is too near to 2

    @pytest.mark.parametrize("windows", [0, 1, 5])
    def test_short_clips_have_no_pairs(self, windows):
        true, false = held_out_pairs(self.video[:windows], self.video[:windows])
        assert len(true) == len(false) == 0
