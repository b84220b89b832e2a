import numpy as np
import pytest
import torch

from datamodules.clips.heads.drawn_heads import drawn_head
from datamodules.clips.heads.shots import FewShots, HeadClip, Subjects, sample_of


class Numbered(HeadClip):
    """Frame n has the colour n; one frame has no landmarks."""

    name, size = "numbered", 8

    def __init__(self, count=10, without=()):
        self.landmarks = (3 + np.random.default_rng(0).uniform(0, 0.5, (count, 68, 2))).astype(np.float32)
        self.found = ~np.isin(np.arange(count), without)

    def pictures(self, frames):
        return torch.tensor(list(frames), dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)


def test_the_target_is_never_a_shot_and_every_frame_becomes_both():
    data = FewShots([Numbered()], [range(10)], shots=4, rounds=300)
    assert len(data) == 300
    targets, shots = set(), set()
    torch.manual_seed(0)
    for index in range(len(data)):
        sample = data[index]
        drawn = [round(float(shot.mean() * 255)) for shot in sample["shots"]]
        target = round(float(sample["image"].mean() * 255))
        assert len({*drawn, target}) == 5
        targets.add(target)
        shots.update(drawn)
    assert targets == shots == set(range(10))


def test_shots_are_the_first_and_the_target_is_the_last_of_a_permutation():
    torch.manual_seed(3)
    order = torch.randperm(6).tolist()
    torch.manual_seed(3)
    sample = FewShots([Numbered()], [[1, 3, 4, 5, 8, 9]], shots=2)[0]
    frames = [[1, 3, 4, 5, 8, 9][place] for place in order]
    assert (sample["shots"][:, 0, 0, 0] * 255).round().tolist() == frames[:2]
    assert round(float(sample["image"][0, 0, 0] * 255)) == frames[-1]
    assert np.array_equal(sample["landmarks"], Numbered().landmarks[frames[-1]])


def test_a_training_sample():
    head = drawn_head(0, 1, frames=4, size=32)
    sample = sample_of(head, [2, 0], 3)
    assert torch.equal((sample["shots"] * 255).round().byte(), head.pictures([2, 0]))
    assert torch.equal((sample["shot_drawings"] * 255).round().byte(), head.drawings([2, 0]))
    assert torch.equal((sample["drawing"] * 255).round().byte(), head.drawings([3])[0])
    assert torch.equal(sample["labels"], head.labels([3])[0])
    assert sample["name"] == "person-1"
    assert "labels" not in sample_of(Numbered(), [0], 1)


def test_subjects():
    head = drawn_head(0, 1, frames=5, size=32, label_noise=0.5)
    (sample,) = Subjects([head], [[0, 1, 3]], [[2, 4]])
    assert torch.equal(sample["shots"], head.pictures([0, 1, 3]))
    assert torch.equal(sample["image"], head.pictures([2, 4]))
    assert torch.equal(sample["drawing"], head.drawings([2, 4]))
    assert np.array_equal(sample["shot_landmarks"], head.landmarks[[0, 1, 3]])
    assert np.array_equal(sample["landmarks"], head.landmarks[[2, 4]])
    assert sample["found"].tolist() == [True, True]
    assert torch.equal(sample["labels"], head.labels([2, 4]))
    assert np.array_equal(sample["true_labels"], head.exact[[2, 4]])


def test_a_frame_without_landmarks_has_a_black_drawing_and_is_said_to_have_none():
    head = Numbered(without=[2])
    assert not head.drawings([2]).any()
    assert head.drawings([1])[0].any()
    (sample,) = Subjects([head], [[0]], [[1, 2]])
    assert sample["found"].tolist() == [True, False]
    assert "labels" not in sample
    assert "true_labels" not in sample


def test_landmarks_that_are_no_numbers_do_not_matter_where_there_is_no_face():
    head = Numbered(without=[2])
    head.landmarks[2] = np.nan
    assert not head.drawings([2]).any()
    head.found[2] = True
    with pytest.raises(ValueError, match="finite"):
        head.drawings([2])


def test_targets_that_follow_each_other_are_a_video_unless_each_was_drawn_for_itself():
    def said(head, targets):
        (sample,) = Subjects([head], [[0]], [targets])
        return sample.get("consecutive", False)

    assert said(Numbered(), [3, 4, 5])
    assert not said(Numbered(), [3, 4, 6])
    assert not said(Numbered(), [3, 4])
    assert not said(drawn_head(0, 1, frames=5, size=32), [2, 3, 4])
