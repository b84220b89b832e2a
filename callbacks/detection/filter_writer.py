"""What is left of generated pictures, why the rest is dropped, and how right that is where the truth is known."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from callbacks.detection.detection_writer import amount, write_list
from callbacks.detection.dropped_pictures import Dropped, save_dropped
from callbacks.detection.filter_figures import (
    CLASSES_SHOWN,
    KEPT,
    losses_in_words,
    losses_of,
    results_of,
    truth_in_words,
    truth_of,
)
from callbacks.detection.generated_picture_writer import annotations_of, image_of
from callbacks.results.prediction_writer import PredictionWriter
from callbacks.results.result import write_results
from visionscapes.checks import PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.files import atomic_write, write_json
from visionscapes.json_lines import as_line, read_entries
from visionscapes.processes import gather_objects

FILTERED, VERDICTS, SUMMARY, CLASS_LOSSES = "filtered.json", "filter.jsonl", "filter.json", "class_losses.json"
PICTURE, COPY = "picture", "copy"
LITTLE = 0.1  # share of the annotations, below which a hint is given
STEP_WORDS = {
    "picture": "in pictures that are kept",
    "small": "not too small",
    "long": "not too long",
    "full frame": "not the whole picture",
    "unseen": "seen by the detector",
    "twice": "annotated once",
    COPY: "in the copies that are chosen",
    "many": "below the limit of their class",
}


class FilterWriter(PredictionWriter):
    """Writes what a filter leaves of generated pictures; counts are printed early, so that it can be stopped.

    In the folder of the generated pictures, or in the run folder where the data are not ``beside``:

    - filtered.json: like annotations.json, with the pictures and annotations that are kept, for training.
    - filter.jsonl: a line a picture with its score, and for every annotation how sure the detector is of it and the
      step in which it is lost: "picture", "small", "long", "full frame", "unseen", "twice", "copy", "many", or "kept";
      where losses are measured, also what each annotation costs the detector.
    - filter.json: thresholds, counts after every step for every class, and, where the manifest knows the truth,
      precision and recall of both filters; where losses are measured, their means and what the detector sees of
      annotations of low and of high loss.
    - class_losses.json, where losses are measured: class -> mean loss of its annotations that pass the filters, or,
      where none passes, of those that the detector does not see; for ``--data.drawn.weights`` of another generation.

    In the run folder pictures/dropped_pictures.png and pictures/dropped_annotations.png, sorted by score (Figures 7.4
    and 7.5), and results/filter.csv: shares that are kept, and precision and recall where they are known. Where losses
    are measured, pictures/kept_by_loss.png shows annotations that are kept from the hardest to the easiest.

    Args:
        early: pictures after which counts are printed, with a hint where little passes.
        shown: annotations or pictures that are drawn at most.

    Raises:
        UserError: an option is out of its bounds; a module that gives something else; nothing is left at all.
    """

    needed = "what a filter says of generated pictures"
    remedy = "use it with GeneratedPictureFilter"
    item = "generated picture"
    task = "filter"

    def __init__(self, early: PositiveInt = 50, shown: PositiveInt = 24):
        check_options(FilterWriter, locals())
        super().__init__()
        self.early, self.shown = early, shown
        self._real: list[float] = []
        self._began = self._seconds = 0.0

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_predict_start(trainer, pl_module)
        if not hasattr(pl_module, "decide") or not hasattr(getattr(trainer, "datamodule", None), "folder"):
            raise UserError(
                "FilterWriter writes what GeneratedPictureFilter says of datamodules.GeneratedPictures: take these, or "
                "leave the callback out"
            )
        self._real, self._began = [], time.monotonic()

    @override
    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(batch, Mapping) and batch.get("task") == "real":
            self._real += outputs
        super().on_predict_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, Sequence) and all(hasattr(each, "seen") for each in outputs)

    @override
    def write_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: Any
    ) -> dict[str, Any]:
        before = len(self._records)
        found = {each.name: each for each in outputs}
        if trainer.is_global_zero and before < self.early <= before + len(found):
            pictures = [*self._records.values(), *found.values()]
            decided = pl_module.decide(pictures, self._real)  # type: ignore[operator]
            print("\n".join([f"after {amount(len(pictures), 'picture')}:", *self._told(trainer, decided, pictures)]))
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        for each in outputs:
            if (
                data.evidence is not None and each.name in data.digests
            ):  # else nothing would tell another picture of that name
                line = {"name": each.name, "sha256": data.digests[each.name], "score": each.score}
                data.evidence.add(line | _numbers_of(each))
        return found

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # In any order: a percentile has none.
        self._close(trainer)
        self._real = [score for scores in gather_objects(self._real) for score in scores]
        self._seconds = max(gather_objects(time.monotonic() - self._began))
        super().on_predict_end(trainer, pl_module)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close(trainer)
        super().on_exception(trainer, pl_module, exception)

    @override
    def conclude(self, trainer: Trainer, records: Mapping[str, Any]) -> str | None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        module, folder, new = trainer.lightning_module, data.folder, len(records)
        before = [data.annotations_of(row) for row in range(len(data.records)) if data.name_of(row) in data.known]
        recalled = [module.recalled(known, data.known[known["name"]]) for known in before]  # type: ignore[operator]
        records = {**records, **{each.name: each for each in recalled}}
        entries = [entry for entry in read_entries(folder.manifest) if entry["name"] in records]
        pictures = [records[entry["name"]] for entry in entries]
        decided = module.decide(pictures, self._real)  # type: ignore[operator]
        names = [each.name for each in pictures]
        found = dict(zip(names, zip(decided["verdicts"], decided["kept"], strict=True), strict=True))
        left = {name: reasons if kept else None for name, (reasons, kept) in found.items()}
        truth = truth_of(entries, list(left.values()))
        beside = trainer.datamodule.beside  # type: ignore[attr-defined]
        out = folder.path if beside else Path(trainer.default_root_dir)
        with atomic_write(out / VERDICTS) as file:
            for _, annotations, entry in _numbered(folder.manifest):
                if entry["name"] in found:
                    reasons, stays = found[entry["name"]]
                    line = verdict_of(records[entry["name"]], reasons, annotations) | {"kept": stays}
                    file.write(as_line(line))
        classes = [str(each["name"]) for each in trainer.datamodule.categories]  # type: ignore[attr-defined]
        counts = {step: dict(zip(classes, of_class, strict=True)) for step, of_class in decided["counts"].items()}
        kept = sum(decided["kept"])
        summary = {
            **module.settings(),  # type: ignore[operator]
            "tau_a": decided["tau_a"],
            "real_pictures": len(self._real),
            "pictures": {"all": len(pictures), "kept": kept},
            "annotations": counts,
            "truth": truth,
        }
        losses = losses_of(decided, classes)
        if losses is not None:
            summary["losses"] = losses
            known = {name: loss for name, loss in losses["classes"].items() if loss is not None}
            write_json(out / CLASS_LOSSES, known)
        write_json(out / SUMMARY, summary)
        write_results(results_of(summary), Path(trainer.default_root_dir) / "results" / "filter.csv")
        self._draw(trainer, entries, pictures, decided["verdicts"])
        lines = self._told(trainer, decided, pictures)
        if not kept or not sum(decided["counts"]["many"]):
            (out / FILTERED).unlink(missing_ok=True)
            print("\n".join(lines))
            raise UserError(_nothing_left(pictures, decided, out / VERDICTS))
        write_filtered(folder, out / FILTERED, left)
        speed = (
            f", {new / max(self._seconds, 1e-9):.3g} a second" if new else ", none of which had to be looked at again"
        )
        return "\n".join(
            [
                *lines,
                *truth_in_words(truth),
                *losses_in_words(losses),
                f"{amount(len(pictures), 'picture')} and {len(self._real)} real ones{speed}",
                f"to train on: {out / FILTERED}; why each is kept or not: {VERDICTS}, {SUMMARY}",
            ]
        )

    def _told(self, trainer: Trainer, decided: Mapping[str, Any], pictures: Sequence[Any]) -> list[str]:
        """Return counts in words, with a hint where little passes."""
        module: Any = trainer.lightning_module
        names = [str(each["name"]) for each in trainer.datamodule.categories]  # type: ignore[attr-defined]
        good = sum(each is not None for each in decided["verdicts"])
        counts = decided["counts"]
        before, left = sum(counts["all"]), sum(counts["many"])
        lines = []
        if decided["tau_a"] is not None:
            score = module.image_score.title
            lines.append(
                f"  {good} of {amount(len(pictures), 'picture')} have a {score} of {decided['tau_a']:.4g} or more"
            )
        if COPY in counts:
            chosen = sum(decided["kept"])
            lines.append(f"  {chosen} of {amount(good, 'picture')} are chosen among the copies of their real ones")
        steps, last = [], before
        for step, words in STEP_WORDS.items():
            now = sum(counts.get(step, [last]))
            if now != last or (step == "unseen" and module.judge is not None and module.instances):
                steps.append(f"{now} {words}")
            last = now
        lines.append(f"  of {amount(before, 'annotation')} {', of these '.join(steps) if steps else 'all are kept'}")
        ranked = sorted(range(len(names)), key=lambda label: -counts["all"][label])
        shown = [label for label in ranked if counts["all"][label]]
        classes = [
            f"{names[label]} {counts['many'][label]} of {counts['all'][label]}" for label in shown[:CLASSES_SHOWN]
        ]
        if len(shown) > CLASSES_SHOWN:
            classes.append(f"and {len(shown) - CLASSES_SHOWN} classes more")
        lines.append(f"  kept by class: {', '.join(classes)}")
        chosen_away = sum(counts["twice"]) - sum(counts[COPY]) if COPY in counts else 0  # as it was asked for
        if before and left + chosen_away < LITTLE * before:
            lines.append(f"  hint: {_hint(decided, before, good, len(pictures))}")
        return lines

    def _close(self, trainer: Trainer) -> None:
        evidence = getattr(getattr(trainer, "datamodule", None), "evidence", None)
        if evidence is not None:
            evidence.close()

    def _draw(
        self,
        trainer: Trainer,
        entries: Sequence[Mapping[str, Any]],
        pictures: Sequence[Any],
        found: Sequence[list[str] | None],
    ) -> None:
        folder, out = trainer.datamodule.folder, Path(trainer.default_root_dir) / "pictures"  # type: ignore[attr-defined]
        dropped, single, by_loss = [], [], []
        for entry, each, reasons in zip(entries, pictures, found, strict=True):
            path = folder.picture(each.name)
            if reasons is None:
                dropped.append(Dropped(path, each.score, f"{each.name}: {each.score:.3g}"))
            for row, reason in enumerate(reasons or ()):
                name, box = entry["source"]["objects"][row]["name"], tuple(each.boxes[row].tolist())
                if reason not in (KEPT, COPY):
                    text = f"{name}: {reason}, {each.seen[row]:.2f}"
                    single.append(Dropped(path, float(each.seen[row]), text, box=box))
                elif reason == KEPT and each.losses is not None:
                    loss = float(each.losses[row])
                    by_loss.append(Dropped(path, -loss, f"{name}: loss {loss:.2f}", box=box))
        save_dropped(dropped, out / "dropped_pictures.png", most=self.shown)
        save_dropped(single, out / "dropped_annotations.png", most=self.shown)
        save_dropped(by_loss, out / "kept_by_loss.png", most=self.shown)


def write_filtered(folder: Any, path: Path, reasons: Mapping[str, Sequence[str] | None]) -> None:
    """Write what is kept in COCO's format, with the numbers that annotations.json has.

    Args:
        folder: of the generated pictures.
        path: of the file.
        reasons: of the annotations of every picture, in the order of the manifest; None for one that is dropped.
    """
    head = _head_of(folder.annotations)

    def images() -> Iterator[str]:
        for image, _, entry in _numbered(folder.manifest):
            if reasons.get(entry["name"]) is not None:
                yield json.dumps(image_of(image, entry))

    def annotations() -> Iterator[str]:
        for _, found, entry in _numbered(folder.manifest):
            kept = reasons.get(entry["name"])
            if kept is not None:
                # Crowds come last, and are no object that could be filtered.
                crowds = [KEPT] * (len(found) - len(kept))
                pairs = zip(found, [*kept, *crowds], strict=True)
                yield from (json.dumps(each) for each, reason in pairs if reason == KEPT)

    with atomic_write(path, "w") as file:
        file.write(json.dumps(head)[:-1] + ',\n"images": ')
        write_list(file, images())
        file.write(',"annotations": ')
        write_list(file, annotations())
        file.write("}\n")


def verdict_of(picture: Any, reasons: Sequence[str] | None, annotations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the line about a picture.

    Args:
        picture: name, score and how sure the detector is of its annotations.
        reasons: of its annotations; None if it is dropped.
        annotations: as annotations.json has them.
    """
    objects = [each for each in annotations if not each["iscrowd"]]
    found = [PICTURE] * len(objects) if reasons is None else reasons
    numbers = _numbers_of(picture)
    return {
        "name": picture.name,
        "score": picture.score,
        "kept": reasons is not None,
        "annotations": [
            {
                "id": each["id"],
                "source_id": each["source_id"],
                "category_id": each["category_id"],
                "repainted": each["repainted"],
                "seen": numbers["seen"][row],
                **({"loss": numbers["losses"][row]} if "losses" in numbers else {}),
                "verdict": reason,
            }
            for row, (each, reason) in enumerate(zip(objects, found, strict=True))
        ],
    }


def _numbers_of(picture: Any) -> dict[str, list[float]]:
    """Return what is known of the annotations of a picture: "seen", and "losses" where they were measured."""
    columns = {"seen": picture.seen} | ({} if picture.losses is None else {"losses": picture.losses})
    return {name: [float(str(number)) for number in column] for name, column in columns.items()}


def _nothing_left(pictures: Sequence[Any], decided: Mapping[str, Any], told: Path) -> str:
    good = sum(each is not None for each in decided["verdicts"])
    if not good:
        scores = sorted(each.score for each in pictures)
        return (
            f"all {len(pictures)} generated pictures are dropped: the best has a score of {scores[-1]:.4g}, and tau_a "
            f"is {decided['tau_a']:.4g}. Lower it, --model.tau_a=<score>, or see whether the inpainter works; {told} "
            "has the score of each"
        )
    hint = _hint(decided, sum(decided["counts"]["all"]), good, len(pictures))
    return f"no annotation of {good} pictures is kept: {hint}; {told} says what each was lost for"


def _hint(decided: Mapping[str, Any], before: int, good: int, pictures: int) -> str:
    """Return what to look at where little passes: the step that takes most."""
    if good < LITTLE * pictures:
        return "most pictures are below tau_a: look at the best of them, and lower --model.tau_a if they are good"
    lost, last = {}, before
    for step in STEP_WORDS:
        now = sum(decided["counts"].get(step, [last]))
        lost[step], last = last - now, now
    del lost[COPY]  # which was asked for
    worst = max(lost, key=lambda step: lost[step])
    if worst == "unseen":
        return (
            "the detector sees few of the objects: lower --model.tau_s or --model.tau_iou, compare places alone with "
            "--model.class_aware=false, or look at the pictures: they may show no such objects"
        )
    return f"most annotations are lost as {worst!r}: look at --model.rules"


def _numbered(manifest: Path) -> Iterator[tuple[int, list[dict[str, Any]], dict[str, Any]]]:
    """Yield number, annotations and entry of every picture, with the numbers that annotations.json has."""
    first = 1
    for image, entry in enumerate(read_entries(manifest), 1):
        found = annotations_of(image, entry, first)
        first += len(found)
        yield image, found, entry


def _head_of(path: Path) -> dict[str, Any]:
    """Return what annotations.json says beside pictures and annotations: it stands in its first line."""
    with path.open(encoding="utf-8") as file:
        return json.loads(file.readline().rstrip().rstrip(",") + "}")
