import csv
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks.source_discovery.real_fake_vote import RealFakeVote, vote
from tests.callbacks.source_discovery.cases import Images, labels_of, round_of, trainer_of
from visionscapes.errors import UserError

MODULE = mock.Mock()  # prints
cases = st.lists(st.tuples(st.booleans(), st.integers(-1, 4)), max_size=30)


def test_votes_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2, -1, -1])
    fake = np.array([1, 1, 0, 1, 0, 0, 1, 0], bool)
    expected = np.array([1, 1, 1, 1, 0, 0, 1, 0], bool)  # a tie and what is in no cluster stay as they are
    assert np.array_equal(vote(fake, labels), expected)
    assert np.array_equal(fake, np.array([1, 1, 0, 1, 0, 0, 1, 0], bool))


@given(cases)
def test_votes_equal_a_naive_version(case):
    fake, labels = np.array([f for f, _ in case], bool), np.array([label for _, label in case], int)
    for one, verdict in zip(case, vote(fake, labels), strict=True):
        own = [f for f, label in case if label == one[1]]
        share = 0.5 if one[1] == -1 else sum(own) / len(own)
        assert verdict == (one[0] if share == 0.5 else share > 0.5)


def write(path, names, probabilities, header=("image", "fake_probability")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *zip(names, probabilities, strict=True)])
    return str(path)


def started(tmp_path, images, scores, rank=0):
    callback, trainer = RealFakeVote(scores), trainer_of(tmp_path / "run", images, rank)
    callback.on_fit_start(trainer, None)
    return callback, trainer


def test_clusters_mend_mistakes(tmp_path):
    images = Images()
    generated = images.truth > 0
    probabilities = np.where(generated, 0.9, 0.1)
    probabilities[:6] = 1 - probabilities[:6]  # mistakes
    order = np.random.default_rng(0).permutation(40)
    scores = write(tmp_path / "scores.csv", np.array(images.discovery_names)[order], probabilities[order])
    callback, trainer = started(tmp_path, images, scores)
    callback.on_round_end(trainer, MODULE, round_of(("refine", labels_of())))
    found = {row.method: row.value for row in callback.results}
    assert found == {
        "round 1 per image": 34 / 40,
        "round 1 voted": 1,
        "last per image": 34 / 40,
        "last voted": 1,
    }
    assert {(row.protocol, row.metric, row.count) for row in callback.results} == {("real_fake", "accuracy", 40)}
    MODULE.print.assert_called_with("round 1, real or generated: 85.00 % per image, 100.00 % voted")
    with (tmp_path / "run" / "votes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == sorted(images.discovery_names)
    by_name = {row["image"]: row for row in rows}
    first = by_name[images.discovery_names[0]]  # a real image that was taken for generated
    assert (first["fake_probability"], first["fake"], first["voted"]) == ("0.9", "1", "0")
    assert set(trainer.loggers[0].rows[0][1]) == {"real_fake/accuracy/per image", "real_fake/accuracy/voted"}


def test_images_that_have_not_arrived_do_not_vote(tmp_path):
    images = Images(late=10)
    callback, trainer = started(tmp_path, images, write(tmp_path / "s.csv", images.discovery_names, [0.9] * 40))
    callback.on_round_end(trainer, MODULE, round_of(("refine", labels_of(30))))
    assert callback.results[0].count == 30
    assert len((tmp_path / "run" / "votes.csv").read_text().splitlines()) == 31


@pytest.mark.parametrize("images", [Images(with_truth=False), Images(real=frozenset())])
def test_verdicts_without_truth(tmp_path, images):
    callback, trainer = started(tmp_path, images, write(tmp_path / "s.csv", images.discovery_names, [0.9] * 40))
    callback.on_round_end(trainer, MODULE, round_of(("refine", labels_of())))
    assert callback.results == []
    assert (tmp_path / "run" / "votes.csv").is_file()


def test_the_first_rank_writes(tmp_path):
    images = Images()
    scores = write(tmp_path / "s.csv", images.discovery_names, [0.9] * 40)
    callback, trainer = started(tmp_path, images, scores, rank=1)
    callback.on_round_end(trainer, MODULE, round_of(("refine", labels_of())))
    assert not (tmp_path / "run").exists()
    assert callback.results


def test_without_scores_the_classifier_says_what_is_real(tmp_path):
    """Features of "one", the real one, point to class 0, those of the others to class 1 or nowhere."""
    images = Images()
    callback, trainer = started(tmp_path, images, None)
    ended = round_of(("refine", labels_of()))
    callback.on_round_end(trainer, MODULE, ended)
    shares = np.exp(ended.logits) / np.exp(ended.logits).sum(1, keepdims=True)
    right = (shares[:, 1] > 0.5) == (images.truth > 0)
    assert {row.method: row.value for row in callback.results}["last per image"] == pytest.approx(right.mean())
    assert (tmp_path / "run" / "votes.csv").is_file()


def test_a_classifier_that_has_never_seen_what_is_real_does_not_vote(tmp_path):
    callback, trainer = started(tmp_path, Images(real=frozenset({"a new"})), None)
    callback.on_round_end(trainer, MODULE, round_of(("refine", labels_of())))
    assert callback.results == []
    assert not (tmp_path / "run").exists()


def test_wrong_files(tmp_path):
    images = Images()
    names = images.discovery_names
    with pytest.raises(UserError, match=r"no such file; give a CSV with image and fake_probability"):
        started(tmp_path, images, str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match="no column fake_probability, only image, score"):
        started(tmp_path, images, write(tmp_path / "columns.csv", names, [0.5] * 40, ("image", "score")))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(UserError, match="no column image and no column fake_probability"):
        started(tmp_path, images, str(tmp_path / "empty.csv"))
    with pytest.raises(UserError, match=r"no score for 2 of 40 discovery images, such as"):
        started(tmp_path, images, write(tmp_path / "few.csv", names[:-2], [0.5] * 38))
    for wrong in ("high", "1.5", "nan", ""):
        with pytest.raises(UserError, match=r"line 3: fake_probability is"):
            started(tmp_path, images, write(tmp_path / "wrong.csv", names, [0.5, wrong, *[0.5] * 38]))
