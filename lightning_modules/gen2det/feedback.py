"""What losses of generated objects decide: which copies of a picture are trained on, how often classes are drawn.

The thesis proposes "few but high impact samples", chosen by a detector that was trained on the real data (9.1.1). It is
measured by `lightning_modules.gen2det.hardness`; here are functions on arrays.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lightning_modules.gen2det.filtering import COPY, KEPT, MANY, UNSEEN, PictureEvidence
from visionscapes.checks import NonNegativeInt, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.seeding import derived_seed

PASSED = (KEPT, COPY, MANY)  # verdicts of what passes the filters, chosen or not
Verdicts = list[list[str] | None]


@dataclass(frozen=True)
class Feedback:
    """What the detector's losses of generated objects are for (thesis 9.1.1, offline); nothing by default.

    Args:
        losses: whether the loss of every annotation is measured, which ``choose`` by loss does too; the means of the
            classes are written as weights that layouts can be drawn by.
        keep: pictures that stay of the copies of one real picture at most, among those of which an annotation passes
            the filters; any number if None.
        choose: which of them, with ``keep``: the "hardest" or "easiest" by the mean loss of what passes, or "random".
        seed: of the random choice.

    Raises:
        UserError: an option is out of its bounds, or only one of ``keep`` and ``choose`` is given.
    """

    losses: bool = False
    keep: PositiveInt | None = None
    choose: Literal["hardest", "easiest", "random"] | None = None
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        check_options(Feedback, vars(self))
        if (self.keep is None) != (self.choose is None):
            raise UserError(
                "keep and choose belong together: give --model.feedback.keep=<pictures of each real one> and "
                "--model.feedback.choose=hardest, easiest or random, or neither"
            )

    @property
    def measures(self) -> bool:
        """Whether losses are needed."""
        return self.losses or self.choose in ("hardest", "easiest")


def choose_copies(feedback: Feedback, pictures: Sequence[PictureEvidence], found: Verdicts) -> None:
    """Mark what passes in pictures that are not chosen among the copies of their real picture; in place.

    Args:
        feedback: with ``keep`` and ``choose``.
        pictures: in an order that decides where two are equally hard.
        found: verdicts on their annotations, see ``lightning_modules.gen2det.filtering.verdicts``.
    """
    copies: dict[str, list[tuple[float, int]]] = {}
    for number, (each, reasons) in enumerate(zip(pictures, found, strict=True)):
        if reasons is not None and KEPT in reasons:
            copies.setdefault(each.layout, []).append((_rank(feedback, each, reasons), number))
    for ranked in copies.values():
        for _, number in sorted(ranked)[feedback.keep :]:
            found[number] = [COPY if reason == KEPT else reason for reason in found[number] or ()]


def hardness_of(picture: PictureEvidence, reasons: Sequence[str]) -> float:
    """Return the mean loss of the annotations that are kept in a picture.

    Args:
        picture: with losses.
        reasons: verdicts on its annotations.
    """
    assert picture.losses is not None
    return float(picture.losses[[reason == KEPT for reason in reasons]].mean(dtype=np.float64))


def mean_class_losses(pictures: Sequence[PictureEvidence], found: Verdicts, classes: int) -> list[float | None]:
    """Return how hard every class is: the mean loss of its annotations that pass the filters.

    Of a class of which none passes it is the mean of those that the detector did not see, which are the hardest there
    are; else such a class would never be drawn again.

    Args:
        pictures: with losses.
        found: verdicts on their annotations.
        classes: number of labels.

    Returns:
        A number for each label; None for one of which neither is there.
    """
    passed: list[list[float]] = [[] for _ in range(classes)]
    unseen: list[list[float]] = [[] for _ in range(classes)]
    for label, loss, _, reason in _annotations(pictures, found):
        if reason in PASSED:
            passed[label].append(loss)
        elif reason == UNSEEN:
            unseen[label].append(loss)
    return [float(np.mean(one or other)) if one or other else None for one, other in zip(passed, unseen, strict=True)]


def seen_by_loss(pictures: Sequence[PictureEvidence], found: Verdicts, tau_s: float) -> list[dict[str, Any]]:
    """Return what the detector sees of annotations of low and of high loss, by quartiles: the instance filter's side.

    Args:
        pictures: with losses.
        found: verdicts on their annotations; counted are those that the whole picture and their boxes do not speak
            against.
        tau_s: score that counts as seen, if exceeded.

    Returns:
        For every quartile, from easy to hard, "least" and "most" loss, "annotations" and "seen", a share; none where
        there are fewer annotations than quartiles.
    """
    counted = [
        (loss, seen > tau_s) for _, loss, seen, reason in _annotations(pictures, found) if reason in (*PASSED, UNSEEN)
    ]
    if len(counted) < 4:
        return []
    losses, seen = (np.array(column, np.float64) for column in zip(*counted, strict=True))
    return [
        {
            "least": float(losses[rows].min()),
            "most": float(losses[rows].max()),
            "annotations": len(rows),
            "seen": float(seen[rows].mean()),
        }
        for rows in np.array_split(np.argsort(losses, kind="stable"), 4)
    ]


def _annotations(pictures: Sequence[PictureEvidence], found: Verdicts) -> Iterator[tuple[int, float, float, str]]:
    """Yield label, loss, how sure the detector is, and the verdict of all annotations of pictures that are kept."""
    for each, reasons in zip(pictures, found, strict=True):
        if reasons is not None:
            assert each.losses is not None
            # The scores as they are, float32, so that they exceed tau_s where `verdicts` says so.
            yield from zip(each.labels.tolist(), each.losses.tolist(), each.seen, reasons, strict=True)


def _rank(feedback: Feedback, picture: PictureEvidence, reasons: Sequence[str]) -> float:
    """Return a number that is lower the sooner a picture is chosen."""
    if feedback.choose == "random":
        number = int.from_bytes(hashlib.sha256(picture.name.encode("utf-8", "surrogatepass")).digest()[:8])
        return float(derived_seed(feedback.seed, number))
    hardness = hardness_of(picture, reasons)
    return -hardness if feedback.choose == "hardest" else hardness
