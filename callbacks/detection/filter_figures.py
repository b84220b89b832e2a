"""What a filter of generated pictures did, in figures: what is kept, how right that is, and how hard."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from callbacks.results.result import Result

KEPT = "kept"
CLASSES_SHOWN = 12


def truth_of(entries: Sequence[Mapping[str, Any]], found: Sequence[Sequence[str] | None]) -> dict[str, Any] | None:
    """Return how right both filters are, where the inpainter knows what it has made; None where it does not.

    Args:
        entries: of the manifest.
        found: reasons of the annotations of each; None for pictures that are dropped.

    Returns:
        "pictures": how many "good" and "bad" ones there are and are kept, and "annotations": how many that are right,
        of a wrong class or missing there are in the pictures that are kept, and are kept; of both the "precision" of
        what is kept and the "recall" of what is right.
    """
    known = [(entry, reasons) for entry, reasons in zip(entries, found, strict=True) if entry["truth"] is not None]
    if not known:
        return None
    pictures: Counter[tuple[str, bool]] = Counter()
    objects: Counter[tuple[str, bool]] = Counter()
    for entry, reasons in known:
        pictures["bad" if entry["truth"]["low_quality"] else "good", reasons is not None] += 1
        for verdict, reason in zip(entry["truth"]["verdicts"], reasons or (), strict=reasons is not None):
            if verdict is not None:  # else it is an object of the real picture
                objects[verdict, reason == KEPT] += 1
    return {
        "pictures": _shares(pictures, ("good", "bad")),
        "annotations": _shares(objects, ("right", "wrong class", "missing")),
    }


def _shares(counts: Mapping[tuple[str, bool], int], kinds: Sequence[str]) -> dict[str, Any]:
    """Return counts of every kind, and precision and recall of the first."""
    kept = {kind: counts.get((kind, True), 0) for kind in kinds}
    there = {kind: kept[kind] + counts.get((kind, False), 0) for kind in kinds}
    right = kept[kinds[0]]
    return {
        "there": there,
        "kept": kept,
        "precision": right / sum(kept.values()) if sum(kept.values()) else None,
        "recall": right / there[kinds[0]] if there[kinds[0]] else None,
    }


def results_of(summary: Mapping[str, Any]) -> list[Result]:
    """Return what stands in filter.json as figures: protocol "filter", methods "pictures" and "annotations".

    With losses, also "number" and mean "hardness" of the pictures that are kept, and what is "seen" of "loss quartile
    1" to "loss quartile 4".

    Args:
        summary: the content of filter.json.
    """
    counts = summary["pictures"], {step: sum(left.values()) for step, left in summary["annotations"].items()}
    last = list(counts[1])[-1]
    rows = []
    for method, there, kept in (
        ("pictures", counts[0]["all"], counts[0]["kept"]),
        ("annotations", counts[1]["all"], counts[1][last]),
    ):
        figures = {"kept": kept / there if there else None}
        known = (summary["truth"] or {}).get(method, {})
        figures |= {name: known.get(name) for name in ("precision", "recall")}
        for kind, number in known.get("there", {}).items():
            figures[f"{kind} kept"] = known["kept"][kind] / number if number else None
        rows += [
            Result("filter", name, method, image_size=0, value=value, standard_error=float("nan"), count=there)
            for name, value in figures.items()
            if value is not None
        ]
    return rows + _results_of_losses(summary.get("losses"), summary["pictures"]["kept"])


def _results_of_losses(losses: Mapping[str, Any] | None, kept: int) -> list[Result]:
    """Return number and mean hardness of what is kept, and what the detector sees of every quartile of the loss."""
    if losses is None:
        return []
    found = [("pictures", "number", kept, kept), ("pictures", "hardness", losses["kept"], kept)]
    for number, each in enumerate(losses["quartiles"], 1):
        found.append((f"loss quartile {number}", "seen", each["seen"], each["annotations"]))
    return [
        Result("filter", name, method, image_size=0, value=value, standard_error=float("nan"), count=count)
        for method, name, value, count in found
        if value is not None
    ]


def truth_in_words(truth: Mapping[str, Any] | None) -> list[str]:
    """Return a line about each filter, none where the truth is not known; see `truth_of`."""
    lines = []
    for part, found in (truth or {}).items():
        kinds = [f"{found['kept'][kind]} of {there} {kind}" for kind, there in found["there"].items()]
        shares = [f"{name} {found[name]:.2f}" for name in ("precision", "recall") if found[name] is not None]
        lines.append(f"by the truth of the manifest, {part} kept: {', '.join(kinds)}; {', '.join(shares)}")
    return lines


def losses_of(decided: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any] | None:
    """Return what stands in filter.json about losses, None where none were measured.

    Args:
        decided: of ``GeneratedPictureFilter.decide``.
        names: of the classes, by label.

    Returns:
        "kept": the mean hardness of the pictures that are kept; "classes": the mean loss of each; "quartiles": see
        `losses_in_words`.
    """
    losses = decided["losses"]
    if losses is None:
        return None
    return losses | {"classes": dict(zip(names, losses["classes"], strict=True))}


def losses_in_words(losses: Mapping[str, Any] | None) -> list[str]:
    """Return lines about losses: the hardest classes, and what the detector sees of easy and of hard annotations.

    Args:
        losses: see `losses_of`.
    """
    if losses is None:
        return []
    known = {name: loss for name, loss in losses["classes"].items() if loss is not None}
    ranked = sorted(known, key=lambda name: -known[name])[:CLASSES_SHOWN]
    lines = [f"mean loss by class, the hardest first: {', '.join(f'{name} {known[name]:.3g}' for name in ranked)}"]
    if without := len(losses["classes"]) - len(known):
        verb = "has" if without == 1 else "have"
        lines.append(f"{without} of {len(losses['classes'])} classes {verb} no annotation to measure")
    if losses["quartiles"]:
        shares = [f"{each['seen']:.0%} ({each['least']:.3g} to {each['most']:.3g})" for each in losses["quartiles"]]
        lines.append(f"seen by the detector, by quartile of the loss from easy to hard: {', '.join(shares)}")
    return lines
