"""What losses decide, against naive recomputations."""

from dataclasses import replace

import numpy as np
import pytest

from lightning_modules.gen2det.feedback import (
    Feedback,
    choose_copies,
    hardness_of,
    mean_class_losses,
    seen_by_loss,
)
from lightning_modules.gen2det.filtering import COPY, KEPT, MANY, SMALL, UNSEEN, PictureEvidence
from visionscapes.errors import UserError

REASONS = (KEPT, KEPT, KEPT, UNSEEN, SMALL)


def evidence(name, losses, labels=None, seen=None):
    count = len(losses)
    return PictureEvidence(
        name, 1.0, size=(9, 9), boxes=np.zeros((count, 4), np.float32),
        labels=np.zeros(count, np.int64) if labels is None else np.array(labels),
        seen=np.ones(count, np.float32) if seen is None else np.array(seen, np.float32),
        losses=np.array(losses, np.float32), layout=name.split("-")[0],
    )  # fmt: skip


def drawn(seed, layouts=6, copies=5):
    """Return pictures and verdicts; of some pictures nothing passes, and some are dropped as a whole."""
    rng = np.random.default_rng(seed)
    pictures, found = [], []
    for copy in range(copies):
        for layout in range(layouts):
            count = int(rng.integers(1, 4))
            pictures.append(evidence(f"{layout}-{copy}", rng.uniform(0, 4, count)))
            found.append(None if rng.uniform() < 0.2 else rng.choice(REASONS, count).tolist())
    return pictures, found


@pytest.mark.parametrize("choose", ["hardest", "easiest"])
@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_of_the_copies_of_a_picture_the_hardest_or_easiest_stay(choose, keep, seed):
    pictures, before = drawn(seed)
    found = [None if reasons is None else list(reasons) for reasons in before]
    choose_copies(Feedback(keep=keep, choose=choose), pictures, found)
    for layout in {each.layout for each in pictures}:
        own = [k for k, each in enumerate(pictures) if each.layout == layout and KEPT in (before[k] or ())]
        means = {k: np.mean([loss for loss, reason in zip(pictures[k].losses, before[k], strict=True)
                             if reason == KEPT]) for k in own}  # fmt: skip
        ranked = sorted(own, key=means.get, reverse=choose == "hardest")
        for k in own:
            assert found[k] == (before[k] if k in ranked[:keep] else [COPY if r == KEPT else r for r in before[k]])
    untouched = [k for k, reasons in enumerate(before) if KEPT not in (reasons or ())]
    assert untouched
    assert all(found[k] == before[k] for k in untouched)
    assert any(COPY in (reasons or ()) for reasons in found)


def kept(pictures, found):
    return {each.name for each, reasons in zip(pictures, found, strict=True) if KEPT in (reasons or ())}


def test_a_random_choice_is_as_large_and_a_function_of_names_and_seed():
    pictures, before = drawn(3, layouts=12)

    def chosen(feedback, order=slice(None)):
        shown, found = pictures[order], [reasons and list(reasons) for reasons in before[order]]
        choose_copies(feedback, shown, found)
        return kept(shown, found)

    random = chosen(Feedback(keep=1, choose="random"))
    hardest = chosen(Feedback(keep=1, choose="hardest"))
    assert len(random) == len(hardest) == len({each.layout for each in pictures})
    assert random != hardest
    assert chosen(Feedback(keep=1, choose="random"), slice(None, None, -1)) == random
    assert chosen(Feedback(keep=1, choose="random", seed=1)) != random
    bare = [replace(each, losses=None) for each in pictures]
    found = [reasons and list(reasons) for reasons in before]
    choose_copies(Feedback(keep=1, choose="random"), bare, found)
    assert kept(bare, found) == random, "no losses are needed"


def test_equally_hard_copies_go_by_their_order():
    pictures = [evidence(f"7-{copy}", [1.5, 2.5]) for copy in range(3)]
    found = [[KEPT, KEPT] for _ in pictures]
    choose_copies(Feedback(keep=2, choose="hardest"), pictures, found)
    assert found == [[KEPT, KEPT], [KEPT, KEPT], [COPY, COPY]]


def test_hardness_is_a_mean_over_what_passes():
    assert hardness_of(evidence("7-0", [1.0, 2.0, 9.0]), [KEPT, KEPT, UNSEEN]) == 1.5


def test_mean_class_losses_by_hand():
    pictures = [
        evidence("0-0", [1.0, 2.0, 5.0, 8.0], [0, 0, 1, 1]),
        evidence("0-1", [4.0, 9.0, 7.0], [0, 0, 2]),
        evidence("1-0", [99.0, 99.0], [0, 3]),
    ]
    found = [[KEPT, COPY, UNSEEN, UNSEEN], [MANY, UNSEEN, SMALL], None]
    # Of class 0 (1 + 2 + 4) / 3; none of class 1 passes; class 2 is too small, class 3 in a picture that is dropped.
    assert mean_class_losses(pictures, found, 5) == [pytest.approx(7 / 3), 6.5, None, None, None]


def test_what_is_seen_by_quartiles_of_the_loss():
    losses = [0.1, 0.2, 1.0, 1.1, 2.0, 2.1, 3.0, 3.1]
    seen = [0.9, 0.8, 0.7, 0.2, 0.3, 0.0, 0.1, 0.0]
    order = [5, 0, 3, 7, 2, 6, 1, 4]
    mixed = evidence("0-0", [losses[k] for k in order], seen=[seen[k] for k in order])
    other = evidence("1-0", [50.0, 60.0])
    found = [[KEPT, COPY, UNSEEN, UNSEEN, MANY, KEPT, KEPT, KEPT], [SMALL, SMALL]]
    quartiles = seen_by_loss([mixed, other], found, tau_s=0.2)
    assert [each["seen"] for each in quartiles] == [1.0, 0.5, 0.5, 0.0]
    assert [each["annotations"] for each in quartiles] == [2] * 4
    assert [(each["least"], each["most"]) for each in quartiles] == [
        pytest.approx(pair) for pair in ((0.1, 0.2), (1.0, 1.1), (2.0, 2.1), (3.0, 3.1))
    ]
    assert seen_by_loss([other], [[SMALL, KEPT]], tau_s=0.2) == []
    assert seen_by_loss([other], [None], tau_s=0.2) == []


def test_losses_are_measured_where_they_are_asked_for():
    assert not Feedback().measures
    assert not Feedback(keep=1, choose="random").measures
    assert Feedback(losses=True).measures
    assert Feedback(keep=1, choose="easiest").measures


@pytest.mark.parametrize("options", [{"keep": 2}, {"choose": "hardest"}])
def test_how_many_and_which_belong_together(options):
    with pytest.raises(UserError, match=r"give --model\.feedback\.keep=.* and --model\.feedback\.choose="):
        Feedback(**options)


def test_options_have_bounds():
    with pytest.raises(UserError, match=r"Feedback\.keep is 0"):
        Feedback(keep=0, choose="random")
