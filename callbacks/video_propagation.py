"""Video object segmentation by propagating the first frame's masks."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from callbacks.dense_evaluation import DenseEvaluation
from errors import UserError
from metrics.video_segmentation import VOID, VideoSegmentationQuality
from networks.label_propagation import decode_labels, labels_on_grid, propagate_labels


class VideoPropagation(DenseEvaluation):
    """J, F and J&F of masks propagated from the first frame, on batches of task "video".

    Args:
        methods: which of the module's dense features to evaluate; all if None.
        context_frames: last frames that are asked beside the first.
        temperature: of the softmax over similarities.
        neighbourhood: how many rows and columns away a cell may look; 0 is no limit.
        neighbourhood_unit: "cells" of the features' own grid (official; half as many pixels where LiFT has doubled the
            grid; the thesis is silent), or "patches", the same number of pixels for every grid.
        patch_size: side of the backbone's patch in pixels, for ``neighbourhood_unit="patches"``.
        top_k: how many most similar cells have a say.
        ignore_void: leave void pixels (255) out of the score; see ``metrics.video_segmentation``.
        frames_at_once: frames that go through the network together, which bounds the memory.

    Raises:
        UserError: an unknown unit, or "patches" without ``patch_size``.

    Thesis sections 8.3.2 and 2.4.3.
    """

    task = "video"

    def __init__(
        self,
        methods: list[str] | None = None,
        context_frames: int = 7,
        temperature: float = 0.1,
        neighbourhood: int = 12,
        neighbourhood_unit: str = "cells",
        patch_size: int | None = None,
        top_k: int = 5,
        ignore_void: bool = False,
        frames_at_once: int = 8,
    ):
        super().__init__(methods)
        if neighbourhood_unit not in ("cells", "patches"):
            raise UserError(f"neighbourhood_unit={neighbourhood_unit!r} of VideoPropagation: choose cells or patches")
        if neighbourhood_unit == "patches" and not patch_size:
            raise UserError("neighbourhood_unit=patches of VideoPropagation needs the backbone's patch_size in pixels")
        self.context_frames, self.temperature, self.top_k = context_frames, temperature, top_k
        self.neighbourhood, self.patch_size = neighbourhood, patch_size
        self.in_patches = neighbourhood_unit == "patches"
        self.ignore_void, self.frames_at_once = ignore_void, frames_at_once

    def new_metric(self) -> Metric:  # noqa: D102
        return VideoSegmentationQuality(self.ignore_void)

    def image_size(self, batch: Mapping[str, Any]) -> int:  # noqa: D102
        return batch["frames"].shape[-1]

    def update(self, metric: Metric, features: nn.Module, batch: Mapping[str, Any]) -> None:  # noqa: D102
        if len(batch["frames"]) < 3:
            raise UserError(
                f"video {batch['name']} has {len(batch['frames'])} frames; at least 3 are needed, because the first "
                "is given and the last is not scored: leave it out of the data set's list"
            )
        metric.update(self.segment(features, batch["frames"], batch["masks"][0]), batch["masks"])

    def segment(self, features: nn.Module, frames: Tensor, first_mask: Tensor) -> Tensor:
        """Return the masks of a video, given the first.

        Args:
            features: dense features, (B, 3, H, W) in [0, 1] -> (B, C, h, w).
            frames: (T, 3, S, S), RGB in [0, 1].
            first_mask: (H, W) int64, object ids of the first frame; 0 background, 255 void.

        Returns:
            (T, H, W) int64, object ids.
        """

        def maps() -> Iterator[Tensor]:
            for part in frames.split(self.frames_at_once):
                yield from features(part)

        first_mask_known = first_mask.masked_fill(first_mask == VOID, 0)
        every = maps()
        first = next(every)
        grid, size = (first.shape[-2], first.shape[-1]), (frames.shape[-2], frames.shape[-1])
        radius = self.neighbourhood
        if self.in_patches:
            assert self.patch_size is not None
            radius = round(radius * self.patch_size * grid[1] / size[1])
        propagated = propagate_labels(
            chain([first], every),
            labels_on_grid(first_mask, grid, int(first_mask_known.max()) + 1),
            context_frames=self.context_frames,
            temperature=self.temperature,
            radius=radius,
            top_k=self.top_k,
        )
        original = (first_mask.shape[-2], first_mask.shape[-1])
        return torch.stack([first_mask_known, *(decode_labels(labels, size, original) for labels in propagated)])
