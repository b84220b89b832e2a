"""What is measured of reenacted people, summed up over them, each target for itself and as a share of the people."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from metrics.estimate import Estimate, ratio_estimate
from metrics.keypoint_error import GROUPS, thirds

DIFFERENCE = "pose difference"
BY_GROUP = (DIFFERENCE, "NMKE", "ID-SIM", "L1")  # are given for targets of low, medium and high difference too
TARGETS = (*BY_GROUP, "no face", "layout accuracy", "oracle agreement", "detector error")
PEOPLE = ("jitter",)
MIOU = "layout mIoU"
NAMES = ("NMKE", "ID-SIM", "L1", "no face", "jitter", "layout accuracy", MIOU, "oracle agreement", "detector error")
LABELS = 19  # of CelebAMask-HQ
NAMES_BY_GROUP = tuple(f"{name}, {group}" for name in BY_GROUP for group in GROUPS)


class HeadFigures(Metric):
    """Figures of the people of one method: means over targets, with standard errors over people.

    Targets of one person are alike, so that their number says little about how sure a mean is.

    Returns:
        ``compute`` gives those of ``NAMES`` and ``NAMES_BY_GROUP`` that at least one target has to ``Estimate``, whose
        count is people. The groups are the thirds of all targets by "pose difference".
    """

    full_state_update = False
    rows: list[Tensor]
    confusion: Tensor

    def __init__(self) -> None:
        super().__init__()
        # One flat state: torchmetrics gathers an empty float vector from a rank that has seen nobody.
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("confusion", torch.zeros(LABELS, LABELS, dtype=torch.long), dist_reduce_fx="sum")

    @override
    def update(self, figures: Mapping[str, Tensor]) -> None:
        """Add a person.

        Args:
            figures: name out of ``TARGETS`` to (T,), one figure a target, NaN for one that has none; name out of
                ``PEOPLE`` to a scalar.
        """
        count = max((len(value) for name, value in figures.items() if name in TARGETS), default=0)
        if not count:
            return
        rows = torch.full((count, 1 + len(TARGETS) + len(PEOPLE)), torch.nan, device=self.device)
        rows[:, 0] = 0
        rows[0, 0] = 1  # the first of a person, by which people are told apart
        for name, value in figures.items():
            if name in TARGETS:
                rows[:, 1 + TARGETS.index(name)] = value.to(rows)
            else:
                rows[0, 1 + len(TARGETS) + PEOPLE.index(name)] = value.to(rows)
        self.rows.append(rows.flatten())

    def update_layout(self, labels: Tensor, truth: Tensor) -> None:
        """Add label maps (T, S, S), those of a layout and the true ones, in [0, ``LABELS``), for the mIoU."""
        pairs = (LABELS * truth.long() + labels.long().to(truth.device)).flatten().to(self.device)
        self.confusion += torch.bincount(pairs, minlength=LABELS**2).reshape(LABELS, LABELS)

    @override
    def compute(self) -> dict[str, Estimate]:
        """Return the estimates."""
        flat = dim_zero_cat(self.rows) if len(self.rows) else torch.zeros(0, device=self.device)
        rows = flat.cpu().reshape(-1, 1 + len(TARGETS) + len(PEOPLE)).double()  # sums on a GPU have no fixed order
        people = rows[:, 0].cumsum(0).long() - 1
        columns = dict(zip((*TARGETS, *PEOPLE), rows[:, 1:].T, strict=True))
        figures = {name: _over_people(columns[name], people) for name in (*TARGETS, *PEOPLE)}
        figures[MIOU] = Estimate(mean_iou(self.confusion), torch.tensor(torch.nan), figures["layout accuracy"].count)
        grouped = ~columns[DIFFERENCE].isnan()
        group = torch.full_like(people, -1)
        group[grouped] = thirds(columns[DIFFERENCE][grouped])
        for name in BY_GROUP:
            for place, title in enumerate(GROUPS):
                chosen = torch.where(group == place, columns[name], torch.nan)
                figures[f"{name}, {title}"] = _over_people(chosen, people)
        return {name: figures[name] for name in (*NAMES, *NAMES_BY_GROUP) if figures[name].count}


def mean_iou(confusion: Tensor) -> Tensor:
    """Return the mean over labels of intersection over union, of those that the truth or the layout has.

    Args:
        confusion: (C, C) pixels by true label and found one.
    """
    common = confusion.diagonal().double()
    union = confusion.sum(0) + confusion.sum(1) - common
    return (common / union)[union > 0].mean()


def _over_people(values: Tensor, people: Tensor) -> Estimate:
    """Return the mean of those values (N,) that are known, whose standard error is over people (N,)."""
    known = ~values.isnan()
    people = people[known]
    length = int(people.max()) + 1 if len(people) else 0
    sums = torch.bincount(people, values[known], minlength=length)
    return ratio_estimate(sums, torch.bincount(people, minlength=length))
