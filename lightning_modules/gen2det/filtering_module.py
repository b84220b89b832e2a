"""The second stage of Gen2Det: what a score of pictures and a detector say of generated pictures (thesis 7.2.3)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from typing_extensions import override

from lightning_modules.detector import Detector
from lightning_modules.gen2det.feedback import (
    Feedback,
    choose_copies,
    hardness_of,
    mean_class_losses,
    seen_by_loss,
)
from lightning_modules.gen2det.filtering import (
    KEPT,
    STEPS,
    STEPS_WITH_COPIES,
    PictureEvidence,
    Rules,
    counts_by_step,
    seen_scores,
    threshold_of,
    verdicts,
)
from lightning_modules.gen2det.hardness import box_stages, instance_losses
from networks.frozen import Frozen
from networks.image_scores import ImageScore
from visionscapes.checks import FiniteFloat, Percent, Share, check_options
from visionscapes.errors import UserError
from visionscapes.loading import load
from visionscapes.options import group_of

TRAIN_ONE = (
    "give --model.detector=<run folder or checkpoint> of one that was trained on the real pictures, such as by python "
    "cli.py fit --config configs/detector.yaml; or do without it, --model.instances=false"
)
WITHOUT_LOSSES = ", and no losses, --model.feedback.losses=false and --model.feedback.choose=null or random"


class GeneratedPictureFilter(LightningModule):
    """Scores generated pictures and looks for their objects with a detector of real ones (7.2.3); trains nothing.

    Batches are those of ``datamodules.GeneratedPictures``. A picture is dropped if its score is below tau_a, an
    annotation if no detection has a score above tau_s and overlaps it by more than tau_iou.

    Args:
        detector: run folder or checkpoint of a detector that was trained on the real pictures.
        image_score: of pictures, such as ``networks.AestheticPredictor``; no picture is dropped if None.
        tau_a: least score of a picture; 4.5 in the thesis for the aesthetic predictor (7.3.1); out of the scores of
            real pictures if None.
        percentile: of the real pictures' scores, at which tau_a lies if it is not given.
        tau_s: that the score of a detection has to exceed; 0.2 in the thesis for LVIS and 0.1 for COCO (7.3.1).
        tau_iou: that the IoU of a detection and an annotation has to exceed; 0.3 in the thesis (7.3.1).
        class_aware: whether the detection has to be of the annotation's class, which the thesis leaves open.
        instances: whether annotations are dropped that the detector does not see; without it and without losses it is
            not asked at all.
        rules: further ones, about boxes.
        feedback: whether the detector's losses are measured, and which copies of a picture they choose (9.1.1).

    Raises:
        UserError: an option is out of its bounds, there is no detector, or it is of other classes or cannot be asked
            for losses; in prediction, nothing says what tau_a is.
    """

    cannot_fit = "filtering learns nothing: run it by python cli.py predict"

    def __init__(
        self,
        detector: str | None = None,
        image_score: ImageScore | None = None,
        tau_a: FiniteFloat | None = None,
        percentile: Percent = 5.0,
        tau_s: Share = 0.2,
        tau_iou: Share = 0.3,
        class_aware: bool = True,
        instances: bool = True,
        rules: Rules = Rules(),
        feedback: Feedback = Feedback(),
    ):
        check_options(GeneratedPictureFilter, locals())
        super().__init__()
        self.feedback: Feedback = group_of(GeneratedPictureFilter, "feedback", feedback)
        self.instances, asked = instances, instances or self.feedback.measures
        if asked and detector is None:
            less = WITHOUT_LOSSES if self.feedback.measures else ""
            raise UserError(f"there is no detector to look for the generated objects: {TRAIN_ONE}{less}")
        self.image_score, self.tau_a, self.percentile = image_score, tau_a, percentile
        self.tau_s, self.tau_iou, self.class_aware = tau_s, tau_iou, class_aware
        self.rules: Rules = group_of(GeneratedPictureFilter, "rules", rules)
        self.judge, self.inputs, self.judge_title = None, None, ""
        if asked and detector is not None:
            loaded = load(detector, "cpu")
            if not isinstance(loaded.module, Detector):
                raise UserError(f"{detector} holds {type(loaded.module).__name__}, which is no detector: {TRAIN_ONE}")
            self.judge, self.inputs, self.judge_title = loaded.module, loaded.inputs, loaded.source
            self.judge.requires_grad_(False)
            if self.feedback.measures:
                box_stages(self.judge.detector)
        self._labels: dict[int, int] = {}  # of the generated pictures -> of the detector

    @override
    def on_predict_start(self) -> None:
        """Compare the classes of detector and pictures, and see that tau_a can be known.

        Raises:
            UserError: they differ, or it cannot.
        """
        data: Any = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "real_count"):
            raise UserError("GeneratedPictureFilter filters generated pictures: take --data=GeneratedPictures")
        if self.image_score is not None and self.tau_a is None and not data.real_count:
            raise UserError(
                "nothing says how good a picture has to be: give --model.tau_a=<least score>, or real pictures to "
                "compare with, --data.images=<folder>"
            )
        if self.judge is not None:
            self._labels = self._matched([str(each["name"]) for each in data.categories], data.used_labels)

    @override
    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move pictures alone: annotations are compared on the CPU."""
        moved = dict(batch)
        if "image" in batch and self.image_score is not None:
            moved["image"] = super().transfer_batch_to_device(batch["image"], device, dataloader_idx)
        if "detect" in batch and self.judge is not None:
            moved["detect"] = self.judge.transfer_batch_to_device(batch["detect"], device, dataloader_idx)
        return moved

    @override
    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> list[Any]:
        """Return a score for each real picture, a `PictureEvidence` for each generated one, nothing at the end."""
        if batch["task"] not in ("real", "filter"):
            return []
        scores = self._scores(batch["image"])
        if batch["task"] == "real":
            return scores
        detected: Sequence[Any] = [None] * len(scores)
        if self.judge is not None:
            detected = self.judge.predict_step(batch["detect"], batch_idx)
        losses = self._losses(batch) if self.feedback.measures else [None] * len(scores)
        return [
            PictureEvidence(
                batch["name"][k],
                score,
                size=batch["size"][k],
                boxes=batch["boxes"][k],
                labels=batch["labels"][k],
                seen=self._seen(batch["boxes"][k], batch["labels"][k], detected[k]),
                losses=losses[k],
                layout=batch["layout"][k] if "layout" in batch else batch["name"][k],
            )
            for k, score in enumerate(scores)
        ]

    def evidence_digest(self, classes: Sequence[str]) -> str:
        """Return a digest of all that decides what is found out about a picture; thresholds of `decide` do not.

        Args:
            classes: names of the classes of the generated pictures, by label.
        """
        networks = [each for each in (self.image_score, self.judge and self.judge.detector) if each is not None]
        asked = (self.tau_iou, self.class_aware, tuple(classes), repr(self.inputs))
        precision = self._trainer.precision if self._trainer is not None else None
        settings: tuple[Any, ...] = (str(precision), asked if self.judge is not None else None)
        if self.feedback.measures:
            settings += ("losses",)
        return Frozen(compute=lambda images: (images,), networks=tuple(networks), settings=settings).digest()

    def recalled(self, known: Mapping[str, Any], line: Mapping[str, Any]) -> PictureEvidence:
        """Return what was found out about a picture before.

        Args:
            known: its "name", "size", "boxes", "labels" and "layout".
            line: of ``datamodules.detection.evidence``, with "score" and "seen", and "losses" where they were measured.
        """
        losses = np.array(line["losses"], np.float32) if "losses" in line else None
        return PictureEvidence(**known, score=line["score"], seen=np.array(line["seen"], np.float32), losses=losses)

    def decide(self, pictures: Sequence[PictureEvidence], real_scores: Sequence[float]) -> dict[str, Any]:
        """Return what is kept.

        Returns:
            "tau_a"; "verdicts" as `verdicts` gives them; "kept", of every picture whether it is; "counts" as
            `counts_by_step` gives them; "losses", None where they are not measured, else "classes" as
            `mean_class_losses` gives them, "quartiles" as `seen_by_loss` does, and "kept", the mean hardness of the
            pictures that are kept, None if none is.
        """
        tau_a = None
        if self.image_score is not None:
            tau_a = self.tau_a if self.tau_a is not None else threshold_of(real_scores, self.percentile)
        tau_s = self.tau_s if self.judge is not None and self.instances else None
        chosen = self.feedback.keep is not None
        choose = partial(choose_copies, self.feedback) if chosen else None
        found = verdicts(pictures, tau_a=tau_a, tau_s=tau_s, rules=self.rules, choose=choose)
        # Of copies that are chosen from, one without any object that passes is no choice.
        kept = [reasons is not None and (not chosen or KEPT in reasons) for reasons in found]
        classes = len(self.trainer.datamodule.categories)  # type: ignore[attr-defined]
        counts = counts_by_step(pictures, found, classes, STEPS_WITH_COPIES if chosen else STEPS)
        losses = self._summed_up(pictures, found, classes) if self.feedback.measures else None
        return {"tau_a": tau_a, "verdicts": found, "kept": kept, "counts": counts, "losses": losses}

    def settings(self) -> dict[str, Any]:
        """Return what decides, as plain values."""
        score = None if self.image_score is None else self.image_score.title
        judged = {"tau_s": self.tau_s, "tau_iou": self.tau_iou, "class_aware": self.class_aware}
        return {
            "image_score": score,
            "percentile": None if self.tau_a is not None or score is None else self.percentile,
            "detector": self.judge_title or None,
            **(judged if self.judge is not None else {}),
            "rules": dict(vars(self.rules)),
            **({"instances": self.instances, "feedback": vars(self.feedback)} if self.feedback != Feedback() else {}),
        }

    def _scores(self, images: Sequence[Tensor]) -> list[float]:
        return [0.0] * len(images) if self.image_score is None else self.image_score(images).float().cpu().tolist()

    def _seen(self, boxes: np.ndarray, labels: np.ndarray, found: Mapping[str, Any] | None) -> np.ndarray:
        if found is None:
            return np.ones(len(boxes), np.float32)
        columns = tuple(found[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
        own = np.array([self._labels.get(label, -1) for label in labels.tolist()], np.int64)
        return seen_scores(boxes, own, columns, tau_iou=self.tau_iou, class_aware=self.class_aware)

    def _losses(self, batch: Mapping[str, Any]) -> list[np.ndarray]:
        """Return what the annotations of every picture cost the detector, (N,) float32."""
        assert self.judge is not None
        images, sizes = batch["detect"]["image"], batch["detect"]["size"]
        boxes, labels = [], []
        for image, size, own, classes in zip(images, sizes, batch["boxes"], batch["labels"], strict=True):
            height, width = size.tolist()
            factors = np.array([image.shape[2] / width, image.shape[1] / height] * 2, np.float32)
            boxes.append(torch.from_numpy(own * factors).to(image.device))
            known = [self._labels[label] for label in classes.tolist()]
            labels.append(torch.tensor(known, dtype=torch.int64, device=image.device))
        found = instance_losses(self.judge.detector, images, boxes, labels)
        return [each.detach().float().cpu().numpy() for each in found]

    def _summed_up(
        self, pictures: Sequence[PictureEvidence], found: list[list[str] | None], classes: int
    ) -> dict[str, Any]:
        hard = [
            hardness_of(each, reasons)
            for each, reasons in zip(pictures, found, strict=True)
            if reasons is not None and KEPT in reasons
        ]
        return {
            "classes": mean_class_losses(pictures, found, classes),
            "quartiles": seen_by_loss(pictures, found, self.tau_s),
            "kept": float(np.mean(hard)) if hard else None,
        }

    def _matched(self, names: Sequence[str], used: Sequence[int]) -> dict[int, int]:
        """Return the detector's label of every label of the generated pictures, by name where names are known.

        Args:
            names: of the classes of the generated pictures, by label.
            used: labels that annotations are of; of others the detector need not know.
        """
        assert self.judge is not None
        known = [str(each["name"]) for each in self.judge.categories] or list(
            getattr(self.inputs, "classes", None) or []
        )
        if not self.class_aware and not self.feedback.measures:
            return {}
        if not known and self.judge.num_classes == len(names):
            return {label: label for label in range(len(names))}
        unknown = [names[label] for label in used if names[label] not in known]
        if unknown or not known:
            told = (
                f"{len(unknown)} of them, such as {unknown[0]!r}, are not among its own" if known else "it has others"
            )
            raise UserError(
                f"the detector of {self.judge_title} is of other classes than the generated pictures ({told}): give "
                "one that was trained on the real pictures, or compare places alone, --model.class_aware=false"
                f"{WITHOUT_LOSSES if self.feedback.measures else ''}"
            )
        return {label: known.index(name) for label, name in enumerate(names) if name in known}
