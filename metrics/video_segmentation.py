"""Region and boundary quality of video object segmentation (DAVIS-2017, semi-supervised)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from metrics.estimate import Estimate, mean_estimate

VOID = 255
_PIXELS_AT_ONCE = 2**23  # bounds the memory of the boundary measure


class VideoSegmentationQuality(Metric):
    """J (region IoU), F (boundary F-measure) and their mean J&F, each averaged over frames, then over objects.

    Follows the semi-supervised task of davis2017-evaluation: the first frame (given) and the last are not scored, the
    objects are the ids up to the largest one in the first frame, two empty regions agree fully (J = 1).

    Args:
        ignore_void: leave out the pixels that the annotation marks as void (255). The official evaluation does so in
            the unsupervised task only.
        boundary_tolerance: how far boundaries may be apart to match, as a fraction of the image diagonal, rounded up
            to whole pixels.

    Returns:
        ``compute`` gives "J&F", "J" and "F" to ``Estimate`` in [0, 1] with the standard error over objects.

    Thesis section 8.3.2 and Table 8.13.
    """

    full_state_update = False
    samples: list[Tensor]

    def __init__(self, ignore_void: bool = False, boundary_tolerance: float = 0.008):
        super().__init__()
        self.ignore_void, self.boundary_tolerance = ignore_void, boundary_tolerance
        # One flat state: torchmetrics gathers an empty float vector from a rank that has seen no video.
        self.add_state("samples", default=[], dist_reduce_fx="cat")

    @override
    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add one video.

        Args:
            predicted: (T, H, W) int64, object ids; 0 is background.
            target: (T, H, W) int64, object ids; 0 is background, 255 void. T is at least 3.

        Raises:
            ValueError: shapes that differ, or fewer than 3 frames.
        """
        if predicted.shape != target.shape or len(target) < 3:
            raise ValueError(f"need two equal (T >= 3, H, W), not {tuple(predicted.shape)} and {tuple(target.shape)}")
        objects = int(target[0].masked_fill(target[0] == VOID, 0).max())
        predicted, target = predicted[1:-1], target[1:-1]
        frames = max(1, _PIXELS_AT_ONCE // target[0].numel())
        for number in range(1, objects + 1):
            scores = [
                self._frame_scores(part == number, truth == number, truth != VOID)
                for part, truth in zip(predicted.split(frames), target.split(frames), strict=True)
            ]
            self.samples.append(torch.cat(scores, dim=1).mean(dim=1).float())

    def _frame_scores(self, predicted: Tensor, target: Tensor, known: Tensor) -> Tensor:
        if self.ignore_void:
            predicted, target = predicted & known, target & known
        return torch.stack([region_iou(predicted, target), boundary_f(predicted, target, self.boundary_tolerance)])

    @override
    def compute(self) -> dict[str, Estimate]:
        """Return the estimates of J&F, J and F over all objects."""
        samples = dim_zero_cat(self.samples) if len(self.samples) else torch.zeros(0, device=self.device)
        region, boundary = samples.double().reshape(-1, 2).T
        return {
            "J&F": mean_estimate((region + boundary) / 2),
            "J": mean_estimate(region),
            "F": mean_estimate(boundary),
        }


def region_iou(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the intersection over union (N,) float64 of masks (N, H, W) bool; 1 where both are empty."""
    intersection = (predicted & target).sum((-2, -1)).double()
    union = (predicted | target).sum((-2, -1)).double()
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)


def boundary_f(predicted: Tensor, target: Tensor, tolerance: float = 0.008) -> Tensor:
    """Return the F-measure (N,) float64 of the boundaries of masks (N, H, W) bool.

    Args:
        predicted: masks to be judged.
        target: true masks.
        tolerance: largest distance of matching boundary pixels as a fraction of the image diagonal.

    Returns:
        Harmonic mean of precision and recall: 0 where only one of the masks has a boundary, 1 where neither has
        (davis2017-evaluation).
    """
    radius = math.ceil(tolerance * math.hypot(*target.shape[-2:]))
    found, true = _crop(boundary_map(predicted), boundary_map(target))
    precision = _share(found, dilate(true, radius))
    recall = _share(true, dilate(found, radius))
    return torch.where(precision + recall > 0, 2 * precision * recall / (precision + recall).clamp(min=1e-12), 0.0)


def boundary_map(masks: Tensor) -> Tensor:
    """Return the one pixel wide boundaries of masks (N, H, W) bool: pixels unlike the right, lower or diagonal one.

    The last row looks only to the right, the last column only down, the corner nowhere (seg2bmap of the Berkeley
    segmentation benchmark); repeating the last row and column says the same.
    """
    padded = torch.cat([masks, masks[..., -1:]], dim=-1)
    padded = torch.cat([padded, padded[..., -1:, :]], dim=-2)
    return (masks ^ padded[..., :-1, 1:]) | (masks ^ padded[..., 1:, :-1]) | (masks ^ padded[..., 1:, 1:])


def dilate(masks: Tensor, radius: int) -> Tensor:
    """Return masks (N, H, W) bool dilated by the disk of all pixels at most ``radius`` pixels away.

    A disk is a pile of horizontal runs, and a run dilates by a difference of running sums whatever its length: this
    takes O(radius) instead of O(radius^2) operations a pixel.
    """
    height, width = masks.shape[-2:]
    sums = F.pad(masks, (radius + 1, radius)).cumsum(-1, dtype=torch.int32)
    result = torch.zeros_like(masks)
    for offset in range(min(radius, height - 1) + 1):
        half = math.isqrt(radius**2 - offset**2)
        end, start = radius + half + 1, radius - half
        run = sums[..., end : end + width] > sums[..., start : start + width]
        result[..., offset:, :] |= run[..., : height - offset, :]
        result[..., : height - offset, :] |= run[..., offset:, :]
    return result


def _crop(found: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Return boundaries (N, H, W) without the rows and columns around all of them: nothing is counted there."""
    used = (found | true).any(0)
    rows, columns = used.any(1).nonzero(), used.any(0).nonzero()
    if not len(rows):
        return found[..., :1, :1], true[..., :1, :1]
    box = (..., slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    return found[box], true[box]


def _share(boundary: Tensor, near: Tensor) -> Tensor:
    """Return which share of each boundary lies near the other one; 1 if there is no boundary."""
    length = boundary.sum((-2, -1)).double()
    return torch.where(length > 0, (boundary & near).sum((-2, -1)) / length.clamp(min=1), 1.0)
