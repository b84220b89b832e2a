"""SparseDet: a detector that mines what nobody annotated instead of calling it background (thesis chapter 3)."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.detector import Detector
from lightning_modules.sparsedet.loss import SSL_NORMS
from lightning_modules.sparsedet.merging import merged
from lightning_modules.sparsedet.mining import pseudo_positives, thinned
from lightning_modules.sparsedet.mining_quality import merge_quality, mining_quality
from lightning_modules.sparsedet.proposing import PROPOSALS, widened
from lightning_modules.sparsedet.views import SeesTwoViews, two_views
from networks.detection.build import build_detector, setup_mmdet
from networks.detection.configs import apply_override, read_config
from networks.detection.labelled import LabelledBoxes
from networks.detection.samples import predictions_of, proposals_of
from networks.detection.two_stage import (
    BoxHead,
    Features,
    Proposals,
    embedded,
    ground_truth,
    of_two_stages,
    relabelled,
    sampled,
)
from visionscapes.checks import NonNegativeFloat, NonNegativeInt, PositiveInt, Share, check_options


class Mined(NamedTuple):
    """What pseudo-positive mining makes of the proposals of a batch.

    Attributes:
        unlabelled: B x (n, 4) xyxy, the mined regions after NMS; none before mining starts.
        rest: B x proposals, labelled regions and background.
    """

    unlabelled: list[Tensor]
    rest: Proposals


class SparseDet(SeesTwoViews, Detector):
    """Trains a two-stage detector on two views of sparsely annotated pictures (thesis 3.2, Figure 3.2, Eq. 3.5).

    Batches are those of ``datamodules.detection.samples`` with "second_view". Every step of the official code whose
    effect users may want to compare is an option; the defaults are the thesis', and where it is silent the code's.

    Args:
        config: of a two-stage detector with an anchor-based RPN, FPN or C4, see `Detector`.
        num_classes: of the data set; as in ``config`` if None.
        overrides: changes of the model's configuration.
        weights: file with weights of the whole detector, common RPN included.
        backbone_weights: file with weights of its backbone.
        optimizer: "sgd" with momentum 0.9, or "adamw".
        lr: learning rate (3.3.3).
        weight_decay: of all trained parameters.
        warmup_steps: over which the rate rises (3.3.3).
        milestones: steps at which the rate is divided by 10; along a cosine if None.
        clip: largest norm of the gradient; no limit if None.
        proposals: what regions come from (3.2.3, tables 3.4 and section 3.5.2.4): "common", C-RPN on both views;
            "original", an ordinary RPN on the picture; "both", an ordinary RPN on each view; "both_halved", with half
            as many from each.
        mining: whether PPM takes unlabelled regions out of the background (3.2.4).
        ssl_weight: of the self-supervised loss (Eq. 3.4); 0 leaves it out.
        merging: whether the second view is trained, on merged ground truth (Eq. 3.3).
        tau_ppm: objectness above which a region is mined (3.3.3, table 3.5).
        tau_bg: largest IoU of a mined region with an annotation (3.3.3).
        tau_m: score above which a detection joins the ground truth (3.3.3, table 3.12).
        mining_start: steps before PPM starts (3.3.6, table 3.11).
        merging_start: steps before detections are merged; 0 in the official code.
        mined_nms: IoU of the class-agnostic NMS of mined regions (official code; the thesis gives none).
        ssl_norm: "mean" over regions and dimensions, as the official code has it, or "squared", the squared norm of
            Eq. 3.4 averaged over regions, which is D times as large.
        ssl_unlabelled: whether the self-supervised loss is taken in batches without any annotation too, as the thesis
            says (3.2.5, discussion); the official code leaves it out there.
        keep_annotations: whether merging keeps every annotation (thesis) or lets them suppress one another (code).
        lone_weight: weight of Eq. 3.3 where a batch has no Eq. 3.2: 0.5 by Eq. 3.5, 1 in the official code.

    Raises:
        UserError: as `Detector`; thresholds outside [0, 1], negative weights, or a detector without the two stages.
    """

    def __init__(
        self,
        config: str,
        num_classes: PositiveInt | None = None,
        *,
        proposals: Literal["common", "original", "both", "both_halved"] = "common",
        mining: bool = True,
        ssl_weight: NonNegativeFloat = 1.0,
        merging: bool = True,
        tau_ppm: Share = 0.8,
        tau_bg: Share = 0.2,
        tau_m: Share = 0.9,
        mining_start: NonNegativeInt = 30_000,
        merging_start: NonNegativeInt = 0,
        mined_nms: Share = 0.3,
        ssl_norm: Literal["mean", "squared"] = "mean",
        ssl_unlabelled: bool = True,
        keep_annotations: bool = True,
        lone_weight: NonNegativeFloat = 0.5,
        **kwargs: Any,
    ):
        check_options(SparseDet, locals())
        self.common = proposals == "common"
        super().__init__(config, num_classes, **kwargs)
        self.propose = PROPOSALS[proposals]
        self.mining, self.ssl_weight, self.merging = mining, ssl_weight, merging
        self.tau_ppm, self.tau_bg, self.tau_m, self.mined_nms = tau_ppm, tau_bg, tau_m, mined_nms
        self.mining_start, self.merging_start = mining_start, merging_start
        self.ssl_distance, self.ssl_unlabelled = SSL_NORMS[ssl_norm], ssl_unlabelled
        self.keep_annotations, self.lone_weight = keep_annotations, lone_weight

    @override
    def build(self, config: str, overrides: dict[str, Any] | None, *args: Any) -> Any:
        """Return the detector, its RPN as wide as two views where it is common to them."""
        setup_mmdet()  # before mmengine reads a configuration with bases in the collection
        model = read_config(config)
        for key, value in (overrides or {}).items():
            apply_override(model, key, value)
        return of_two_stages(build_detector(widened(model) if self.common else model, None, *args))

    @override
    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return the terms of Eq. 3.5 and figures about what was mined and merged."""
        f_o, f_a, samples = two_views(self.detector, batch, training=True)
        annotated = ground_truth(samples)

        rpn_losses, regions = self.propose(self.detector, f_o, f_a, samples)  # Eq. 3.1
        mined = self.mine(regions, annotated)
        figures = mining_quality(mined.unlabelled, batch.get("removed_boxes"))

        original = BoxHead(self.detector, f_o, sampled(self.detector, mined.rest, samples), samples=samples)
        det_o = original.losses()  # Eq. 3.2
        det_a: dict[str, Tensor] = {}
        if self.merging:
            targets = self.merge(annotated, original)
            relabels = relabelled(samples, targets)
            regions_a = sampled(self.detector, mined.rest, relabels)
            det_a = BoxHead(self.detector, f_a, regions_a, samples=relabels).losses()  # Eq. 3.3
            figures |= merge_quality(targets, annotated, batch)

        labelled = any(len(each.boxes) for each in annotated)
        ssl = self.self_supervised(f_o, f_a, mined.unlabelled, labelled)  # Eq. 3.4
        detection = self.weighted(det_o, det_a, labelled)
        return detection | rpn_losses | {"loss_ssl": self.ssl_weight * ssl} | figures  # Eq. 3.5, which `total` sums

    def weighted(self, det_o: dict[str, Tensor], det_a: dict[str, Tensor], labelled: bool) -> dict[str, Tensor]:
        """Return 0.5 * (L_det,o + L_det,a) of Eq. 3.5 term by term; the one alone where the other is switched off."""
        if not det_a:
            return {f"{name}_o": value for name, value in det_o.items()}
        weight_a = 0.5 if labelled else self.lone_weight
        return {f"{name}_o": 0.5 * value for name, value in det_o.items()} | {
            f"{name}_a": weight_a * value for name, value in det_a.items()
        }

    def mine(self, regions: Proposals, annotated: Sequence[LabelledBoxes]) -> Mined:
        """Segregate the unlabelled regions from the others (thesis 3.2.4), once mining has started."""
        if not self.mining or self.global_step <= self.mining_start:
            return Mined([each.bboxes[:0] for each in regions], regions)
        unlabelled, rest = [], []
        for found, known in zip(regions, annotated, strict=True):
            taken = pseudo_positives(found.bboxes, found.scores, known.boxes, self.tau_ppm, self.tau_bg)
            unlabelled.append(thinned(found.bboxes[taken], found.scores[taken], self.mined_nms))
            rest.append(found[~taken])
        return Mined(unlabelled, rest)

    def merge(self, annotated: Sequence[LabelledBoxes], original: BoxHead) -> list[LabelledBoxes]:
        """Return the merged ground truth of every picture (thesis 3.2.5)."""
        if self.global_step < self.merging_start:
            return list(annotated)
        return [
            merged(known, found, self.tau_m, keep_all=self.keep_annotations)
            for known, found in zip(annotated, original.detections(), strict=True)
        ]

    def self_supervised(self, f_o: Features, f_a: Features, regions: Sequence[Tensor], labelled: bool) -> Tensor:
        """Return Eq. 3.4 over the mined regions of the batch, 0 if there are none."""
        if self.ssl_weight == 0 or not sum(map(len, regions)) or not (labelled or self.ssl_unlabelled):
            return f_o[0].new_zeros(())
        return self.ssl_distance(embedded(self.detector, f_a, regions), embedded(self.detector, f_o, regions))

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]]:
        """Return detections from f_o in regions of both views (thesis 3.3.3), see `Detector.predict_step`."""
        f_o, f_a, samples = two_views(self.detector, batch, training=False)
        regions = self.propose.inference(self.detector, f_o, f_a, samples)
        results = self.detector.roi_head.predict(f_o, regions, samples, rescale=True)
        return predictions_of(self.detector.add_pred_to_datasample(samples, results))

    @override
    def proposals(self, batch: dict[str, Any]) -> list[dict[str, Tensor]]:
        """Return the proposals, in pixels of the original pictures."""
        f_o, f_a, samples = two_views(self.detector, batch, training=False)
        return proposals_of(self.propose.inference(self.detector, f_o, f_a, samples, rescale=True))

    @torch.no_grad()
    def mined(self, batch: dict[str, Any]) -> list[Tensor]:
        """Return what PPM mines in a training batch, B x (n, 4) xyxy in its pixels, as soon as mining has started."""
        f_o, f_a, samples = two_views(self.detector, batch, training=False)
        _, regions = self.propose(self.detector, f_o, f_a, samples)
        return self.mine(regions, ground_truth(samples)).unlabelled
