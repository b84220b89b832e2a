"""Class-agnostic CenterNet as the proposal stage of CenterNet2: mmdet's head, corrected for this use.

Imported by `networks.detection.centernet2`.
"""

from typing import Any

import torch
from mmdet.models.dense_heads import CenterNetUpdateHead
from mmdet.registry import MODELS
from torch import Tensor, nn
from typing_extensions import override

INF = 1_000_000_000  # mmdet's, of locations that belong to no object


def heatmap_focal_loss(
    heat: Tensor, target: Tensor, positives: Tensor, gamma: float = 2.0, beta: float = 4.0, ignore_high_fp: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return the sums of the losses of an object heatmap at objects' centres and everywhere.

    Args:
        heat: (N,) predicted probabilities, inside (0, 1).
        target: (N,) in [0, 1], a Gaussian around every centre.
        positives: (P,) int64, indices of the centres.
        gamma: exponent that turns easy locations down.
        beta: exponent that turns locations near a centre down.
        ignore_high_fp: locations with at least this probability are no negatives, they may be objects that nobody
            annotated (CenterNet2's code; the paper has no such rule).

    Returns:
        The positives' and the negatives' loss.
    """
    at_centres = heat[positives]
    positive = -at_centres.log() * (1 - at_centres) ** gamma
    negative = -(1 - heat).log() * heat**gamma * (1 - target) ** beta
    return positive.sum(), negative[heat < ignore_high_fp].sum()


@MODELS.register_module()
class HeatmapFocalLoss(nn.Module):
    """``heatmap_focal_loss`` with the weights of CenterNet2's code, where alpha comes on top of the two weights.

    Args:
        alpha: positives are weighted by it, negatives by 1 - alpha.
        gamma: see ``heatmap_focal_loss``, likewise the next two.
        beta: see there.
        ignore_high_fp: see there.
        pos_weight: further factor of the positives.
        neg_weight: further factor of the negatives.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        beta: float = 4.0,
        ignore_high_fp: float = 0.85,
        pos_weight: float = 0.5,
        neg_weight: float = 0.5,
    ):
        super().__init__()
        self.exponents = {"gamma": gamma, "beta": beta, "ignore_high_fp": ignore_high_fp}
        self.weights = alpha * pos_weight, (1 - alpha) * neg_weight

    @override
    def forward(self, pred: Tensor, target: Tensor, pos_inds: Tensor, pos_labels: Tensor, avg_factor: Tensor) -> Tensor:
        """Return the loss as a scalar; arguments as ``CenterNetUpdateHead`` hands them over.

        Args:
            pred: (N, 1) probabilities.
            target: (N, 1) heatmap.
            pos_inds: (P,) indices of the centres.
            pos_labels: (P,), not used: there is one class.
            avg_factor: what the sums are divided by.
        """
        positive, negative = heatmap_focal_loss(pred[:, 0], target[:, 0], pos_inds, **self.exponents)
        return (self.weights[0] * positive + self.weights[1] * negative) / avg_factor


@MODELS.register_module()
class CenterNetProposals(CenterNetUpdateHead):
    """Proposal head of CenterNet2 (Zhou et al., "Probabilistic two-stage detection", 2021), for mmdet's rpn_head.

    What differs from ``CenterNetUpdateHead``, which is written for one-stage detection:

    * Heatmap and boxes share one tower, and boxes start at 8 cells to every side (the authors' code).
    * Boxes are scaled to pixels in training too, where the second stage needs them.
    * A picture without objects is all background. mmdet fills its heatmap with the number of classes, which for one
      class makes an object of every location.
    * A proposal's score is the square root of its heat (the authors' code).
    * Outputs are float32 under autocast: bfloat16 cannot tell neighbouring pixels beyond 256 apart.

    All ranks take part in two reductions a step, whatever their pictures show.

    Args:
        more_positives: let up to ``more_pos_topk`` well predicted neighbours of a centre be positives as well; off in
            X-Paste's configuration, always on in mmdet.
        init_cfg: see mmengine's ``BaseModule``; the authors' initialisation if None.
        options: of mmdet's ``CenterNetUpdateHead``; num_classes has to be 1.
    """

    def __init__(self, *, more_positives: bool = False, init_cfg: Any = None, **options: Any):
        heat = {"type": "Normal", "name": "conv_cls", "std": 0.01, "bias_prob": 0.01}
        boxes = {"type": "Normal", "name": "conv_reg", "std": 0.01, "bias": 8.0}
        own_init = {"type": "Normal", "layer": "Conv2d", "std": 0.01, "override": [heat, boxes]}
        super().__init__(init_cfg=init_cfg or own_init, **options)
        self.more_positives = more_positives

    @override
    def _init_cls_convs(self) -> None:
        """Make no tower for the heatmap: it takes that of the boxes."""

    @override
    def forward_single(self, x: Tensor, scale: nn.Module, stride: int) -> tuple[Tensor, Tensor]:
        """Return heat (B, 1, h, w) as logits and distances (B, 4, h, w) to the sides in cells."""
        for layer in self.reg_convs:
            x = layer(x)
        return self.conv_cls(x).float(), scale(self.conv_reg(x)).float().clamp(min=0)

    @override
    def predict_by_feat(
        self, cls_scores: list[Tensor], bbox_preds: list[Tensor], *args: Any, **options: Any
    ) -> list[Any]:
        """Return the proposals of every picture; arguments as in mmdet's ``BaseDenseHead``."""
        in_pixels = [boxes * stride for boxes, stride in zip(bbox_preds, self.strides, strict=True)]
        proposals = super().predict_by_feat(cls_scores, in_pixels, *args, **options)
        for each in proposals:
            each.scores = each.scores.sqrt()
        return proposals

    @override
    def _get_targets_single(
        self, gt_instances: Any, points: Tensor, regress_ranges: Tensor, strides: Tensor
    ) -> tuple[Tensor, Tensor]:
        if len(gt_instances):
            return super()._get_targets_single(gt_instances, points, regress_ranges, strides)
        return points.new_zeros(len(points), 1), points.new_full((len(points), 4), -INF)

    @torch.no_grad()
    @override
    def add_cls_pos_inds(
        self, flatten_points: Tensor, flatten_bbox_preds: Tensor, featmap_sizes: Tensor, batch_gt_instances: list[Any]
    ) -> tuple[Tensor, Tensor]:
        """Return indices (P,) of positive locations and their labels (P,), 0; arguments as in mmdet."""
        indices = None
        if self.more_positives:
            indices, _ = super().add_cls_pos_inds(flatten_points, flatten_bbox_preds, featmap_sizes, batch_gt_instances)
        elif any(len(each) for each in batch_gt_instances):
            indices = self._centres(featmap_sizes.long().tolist(), [each.bboxes for each in batch_gt_instances])
        if indices is None:
            indices = flatten_points.new_zeros(0, dtype=torch.int64)
        return indices, torch.zeros_like(indices)

    def _centres(self, sizes: list[list[int]], boxes: list[Tensor]) -> Tensor:
        """Return indices of the cells that hold objects' centres, on the levels that care for objects of their size.

        Locations are numbered level by level, picture by picture, row by row.
        """
        indices, start = [], 0
        for (h, w), stride, (least, most) in zip(sizes, self.strides, self.regress_ranges, strict=True):
            for each in boxes:
                half_diagonal = (each[:, 2:] - each[:, :2]).norm(dim=1) / 2
                cared_for = each[(half_diagonal >= least) & (half_diagonal <= most)]
                cells = ((cared_for[:, :2] + cared_for[:, 2:]) / 2 / stride).long()
                x, y = cells[:, 0].clamp(0, w - 1), cells[:, 1].clamp(0, h - 1)
                indices.append(start + y * w + x)
                start += h * w
        return torch.cat(indices)
