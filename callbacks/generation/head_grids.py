"""Pictures of reenacted people beside each other: their layouts, one shot, many shots, and other people's poses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from callbacks.generation.pictures import label_colours, new_grid, show
from callbacks.results.figures import save_figure
from metrics.keypoint_error import GROUPS
from networks.reenacted import parsed_method

SOURCE, TARGET = "source", "target"
ORACLE, EXACT, LAYOUT, PROBABILITIES = "noisy oracle", "exact map", "layout", "probabilities"
_SIDE = 1.25  # inches of a picture
_SMALL = {"fontsize": 8, "pad": 2}


@dataclass(frozen=True)
class ShownSubject:
    """A person of the test and T targets whose landmarks are known, on the CPU.

    Attributes:
        name: of the person.
        shots: (K, 3, S, S) uint8, for the poses of other people; the first is the source.
        shot_drawings: (K, 3, S, S) uint8.
        targets: (T, 3, S, S) uint8.
        drawing: (T, 3, S, S) uint8.
        outputs: method to (T, 3, S, S) uint8.
        differences: (T,) of the pose of the targets from the source's.
        labels: (T, S, S) uint8 of a face parser, None without one.
        maps: what is shown of layouts, name to (T, 3, S, S) uint8 colours; empty without any.
        consecutive: whether the targets are the frames of a video.
    """

    name: str
    shots: Tensor
    shot_drawings: Tensor
    targets: Tensor
    drawing: Tensor
    outputs: dict[str, Tensor]
    differences: Tensor
    labels: Tensor | None
    maps: dict[str, Tensor]
    consecutive: bool

    def typical(self) -> int:
        """Return the target whose pose differs from the source's as much as those of half of the others."""
        return int(self.differences.argsort()[len(self.differences) // 2])

    def best(self) -> str:
        """Return the method with the most shots, fine-tuned if there is one."""
        return max(self.outputs, key=lambda name: parsed_method(name) or (0, False))


def coloured(labels: Tensor) -> Tensor:
    """Return label maps (T, H, W) as colours (T, 3, H, W) uint8."""
    return label_colours()[labels.long().cpu()].permute(0, 3, 1, 2).contiguous()


def mixed_colours(layout: Tensor) -> Tensor:
    """Return layouts (T, C, H, W) of probabilities as the mean colours (T, 3, H, W) uint8 of their labels."""
    colours = label_colours()[: layout.shape[1]].float()
    return torch.einsum("tchw,cd->tdhw", layout.float().cpu(), colours).round().clamp(0, 255).byte()


def save_layouts(subjects: Sequence[ShownSubject], path: Path) -> None:
    """Write what the generator was led by, a row a person (Figure 6.4); nothing where there is no layout."""
    subjects = [each for each in subjects if each.maps]
    if not subjects:
        return
    names = list(dict.fromkeys(name for each in subjects for name in each.maps))
    rows = []
    for each in subjects:
        at = each.typical()
        blank = torch.full_like(each.targets[at], 255)
        maps = [each.maps[name][at] if name in each.maps else blank for name in names]
        rows.append([each.targets[at], *maps, each.outputs[each.best()][at]])
    _save(rows, path, columns=[TARGET, *names, subjects[0].best()])


def save_single_shot(subjects: Sequence[ShownSubject], path: Path, rows: int = 2) -> None:
    """Write what becomes of one shot, for targets of low, medium and high difference of pose (Figure 6.3).

    Args:
        subjects: to choose from.
        path: of a PNG.
        rows: of each third of the differences, of different people where there are enough.
    """
    methods = [name for name in subjects[0].outputs if (parsed_method(name) or (1,))[0] == 1]
    if not methods:
        return
    lines, titles = [], []
    for number, group in enumerate(GROUPS):
        for person, target in picked([each.differences for each in subjects], number, rows):
            each = subjects[person]
            lines.append([each.shots[0], each.targets[target], *(each.outputs[name][target] for name in methods)])
            titles.append(f"{group}, {float(each.differences[target]):.2f}")
    _save(lines, path, columns=[SOURCE, TARGET, *methods], rows=titles)


def save_many_shots(subjects: Sequence[ShownSubject], path: Path) -> None:
    """Write what more shots and fine-tuning change, a row a person and a column a method (Figures 6.5 and 6.8)."""
    methods = sorted(subjects[0].outputs, key=lambda name: (parsed_method(name) or (0, False))[::-1])
    rows = []
    for each in subjects:
        at = each.typical()
        rows.append([each.shots[0], each.targets[at], *(each.outputs[name][at] for name in methods)])
    _save(rows, path, columns=[SOURCE, TARGET, *(name.replace(", ", ",\n") for name in methods)])


def save_cross_subject(
    subjects: Sequence[ShownSubject], path: Path, reenact: Callable[[ShownSubject, ShownSubject, int], Tensor]
) -> None:
    """Write every person in the pose of every other, a row a driver and a column a source (Figure 6.7).

    Args:
        subjects: who are drivers and sources both.
        path: of a PNG.
        reenact: of a source, a driver and the number of the driver's target, gives a picture (3, S, S) uint8.
    """
    blank = torch.full_like(subjects[0].targets[0], 255)
    rows = [[blank, *(source.shots[0] for source in subjects)]]
    for driver in subjects:
        at = driver.typical()
        rows.append([driver.targets[at], *(reenact(source, driver, at) for source in subjects)])
    columns = ["driver", *(SOURCE for _ in subjects)]
    _save(rows, path, columns=columns)


def picked(differences: Sequence[Tensor], group: int, count: int) -> list[tuple[int, int]]:
    """Return people and targets of one third of the differences of all, those in its middle first.

    Args:
        differences: (T,) of each person.
        group: number of the third.
        count: of targets, of different people where there are enough.
    """
    every = sorted(
        (float(value), person, target) for person, each in enumerate(differences) for target, value in enumerate(each)
    )
    third = every[group * len(every) // 3 : (group + 1) * len(every) // 3]
    if not third:
        return []
    middle = third[len(third) // 2][0]
    nearest = sorted(third, key=lambda entry: abs(entry[0] - middle))
    chosen: dict[int, tuple[int, int]] = {}
    for _, person, target in nearest:
        chosen.setdefault(person, (person, target))
    return list(chosen.values())[:count]


def _save(
    pictures: Sequence[Sequence[Tensor]], path: Path, *, columns: Sequence[str], rows: Sequence[str] = ()
) -> None:
    """Write rows of pictures (3, S, S) uint8 under the titles of their columns, and beside those of their rows."""
    figure, panels = new_grid(len(pictures), len(columns), side=_SIDE)
    for panel, title in zip(panels[0], columns, strict=True):
        panel.set_title(title, **_SMALL)
    for line, title in zip(panels, rows, strict=False):
        line[0].text(-0.06, 0.5, title, rotation=90, ha="right", va="center", fontsize=8, transform=line[0].transAxes)
    for line, some in zip(panels, pictures, strict=True):
        for panel, picture in zip(line, some, strict=True):
            show(panel, picture.float() / 255)
    save_figure(figure, path)
