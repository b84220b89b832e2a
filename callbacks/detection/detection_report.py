"""What a detector finds and what it does not: figures of every class, curves, confusions, labels, worst mistakes."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.detection.drawn_objects import as_image
from callbacks.detection.evaluation import EvaluatedImage, columns, datamodule_of, detections, evaluated, in_order
from callbacks.detection.report.files import write_files
from callbacks.detection.report.findings import Findings
from callbacks.detection.report.mistakes import KINDS, Kind, Mistake, mistakes_in, with_picture, worst
from callbacks.detection.report.page import page
from metrics.coco_average_precision import Curves, Federated, coco_curves
from metrics.detection_matching import Matching, confusion_matrix, matched
from metrics.label_statistics import Labels, label_statistics
from visionscapes.checks import NonNegativeInt, Share, check_options
from visionscapes.files import write_text
from visionscapes.processes import computed_once, gather_objects

THRESHOLD = 0.5  # of the IoU at which a detection meets an object
PAGE = "detection_report.html"


class DetectionReport(Callback):
    """Reports on a test in the run folder; the page holds its pictures and asks nobody for anything.

    - detection_report.html: all of it, to look at.
    - results/detection_classes.csv: AP, AP50, AP75, of small, medium and large objects, recall, precision and recall at
      ``min_score``, and the score at which F1 is best, of every class.
    - results/detection_precision_recall.csv: the curve of every class at IoU 0.50 and 0.75, with the scores.
    - results/detection_confusion.csv: how often each class was taken for each, with the background.
    - results/detection_labels.json: the annotations that were evaluated, and those to train on if the run has trained:
      objects of every class, sizes, shapes, places, objects a picture.

    AP and curves are those of pycocotools, or of the lvis package for data that have ``frequencies``; the confusion
    matrix is that of ``metrics.detection_matching``. Takes test batches of task "detection" (see
    ``DetectionEvaluation``); under DDP the first rank reports on the pictures of all.

    Args:
        min_score: in [0, 1], of the detections that the confusion matrix and the worst mistakes count.
        mistakes: how many of each kind are shown: missed, false, confused.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(self, min_score: Share = 0.3, mistakes: NonNegativeInt = 20):
        check_options(DetectionReport, locals())
        self.min_score, self.mistakes = min_score, mistakes
        self._collected: list[tuple[EvaluatedImage, Matching]] = []
        self._worst: dict[Kind, list[Mistake]] = {}

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._collected, self._worst = [], {kind: [] for kind in KINDS}

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(batch, Mapping) or batch.get("task") != "detection":
            return
        datamodule = datamodule_of(trainer, self)
        found = detections(self, pl_module, outputs, batch)
        pictures = zip(batch["image_id"], batch["size"], found, batch["truth"], strict=True)
        for pixels, picture in zip(batch["image"], pictures, strict=True):
            image = evaluated(*picture)
            matching = matched(
                image.found, image.truth, THRESHOLD, min_score=self.min_score, unverified=unverified(image, datamodule)
            )
            self._collected.append((image, matching))
            self._remember(image, matching, pixels, datamodule.classes)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        mine, self._collected = self._collected, []
        everyone = gather_objects(self._worst)
        shown = {kind: worst(chain.from_iterable(each[kind] for each in everyone), self.mistakes) for kind in KINDS}
        datamodule, folder = datamodule_of(trainer, self), Path(trainer.default_root_dir)

        def report(collected: Sequence[tuple[EvaluatedImage, Matching]]) -> None:
            if collected:
                findings = self.findings(collected, datamodule, shown)
                write_files(findings, folder / "results")
                write_text(folder / PAGE, page(findings))
                print(f"report on the detector: {folder / PAGE}")

        computed_once(mine, report)
        self._worst = {}

    def findings(
        self,
        collected: Sequence[tuple[EvaluatedImage, Matching]],
        datamodule: Any,
        mistakes: Mapping[Kind, Sequence[Mistake]],
    ) -> Findings:
        """Return what there is to report.

        Args:
            collected: every picture, and which of its detections meets which object.
            datamodule: that has the names of the classes.
            mistakes: the worst of each kind.
        """
        collected = sorted(collected, key=lambda each: in_order(each[0]))
        images, count = [image for image, _ in collected], len(datamodule.classes)
        confusion = np.zeros((count + 1, count + 1), np.int64)
        for image, matching in collected:
            found, truth = image.found["labels"], image.truth
            confusion += confusion_matrix(matching, found, truth["labels"], ignored=truth["ignored"], classes=count)
        curves, mask_curves = curves_of(images, datamodule)
        trained = getattr(datamodule, "training_labels", lambda: None)()
        return Findings(
            classes=datamodule.classes,
            min_score=self.min_score,
            pictures=len(images),
            curves=curves,
            mask_curves=mask_curves,
            confusion=confusion,
            evaluated=label_statistics(labels_of(images), count),
            trained=None if trained is None else label_statistics(trained, count),
            mistakes=mistakes,
        )

    def _remember(self, image: EvaluatedImage, matching: Matching, pixels: Tensor, classes: Sequence[str]) -> None:
        """Keep the mistakes of a picture that are among the worst so far, with what they look like."""
        made = mistakes_in(image, matching, self.min_score, classes) if self.mistakes else []
        picture = None
        for kind in KINDS:
            kept = worst([*self._worst[kind], *(each for each in made if each.kind == kind)], self.mistakes)
            for place, each in enumerate(kept):
                if not each.picture:
                    picture = as_image(pixels) if picture is None else picture
                    kept[place] = with_picture(each, picture, image.size)
            self._worst[kind] = kept


def curves_of(images: Sequence[EvaluatedImage], datamodule: Any) -> tuple[Curves, Curves | None]:
    """Return the curves of boxes and of masks, None where there are none."""
    annotated, detected = columns(images)
    federated = None
    if hasattr(datamodule, "frequencies"):
        verified = [image.negative for image in images], [image.not_exhaustive for image in images]
        federated = Federated(*verified, datamodule.frequencies)
    sizes, count = [image.size for image in images], len(datamodule.classes)
    boxes = coco_curves(annotated, detected, sizes, count, federated=federated)
    if annotated.masks is None:
        return boxes, None
    return boxes, coco_curves(annotated, detected, sizes, count, masks=True, federated=federated)


def labels_of(images: Sequence[EvaluatedImage]) -> Labels:
    """Return the annotations of the pictures, for statistics."""
    annotated, _ = columns(images)
    return Labels(
        sizes=np.array([image.size for image in images]),
        pictures=annotated.pictures,
        labels=annotated.labels,
        boxes=annotated.boxes,
        ignored=annotated.ignored,
    )


def unverified(image: EvaluatedImage, datamodule: Any) -> np.ndarray | None:
    """Return the labels that a picture of LVIS may show without their being annotated; None for other data."""
    if not hasattr(datamodule, "frequencies"):
        return None
    verified = np.union1d(image.truth["labels"], np.array(image.negative, np.int64))
    unknown = np.setdiff1d(np.arange(len(datamodule.classes)), verified)
    return np.union1d(unknown, np.array(image.not_exhaustive, np.int64))
