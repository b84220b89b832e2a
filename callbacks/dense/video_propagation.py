"""Video object segmentation by propagating the first frame's masks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, tee
from operator import itemgetter
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from callbacks.dense.evaluation import DenseEvaluation, MetricOfLayer, Precise
from callbacks.results.presentation import SHARE, Presentation
from metrics.video_segmentation import VOID, VideoSegmentationQuality
from networks.cells import Cells, Grid
from networks.dense import by_layer
from networks.label_propagation import decode_labels, labels_on_grid, propagate_labels
from visionscapes.checks import NonNegativeInt, PositiveFloat, PositiveInt, check_options
from visionscapes.errors import UserError


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
        task: of the batches, if videos come under another name, such as "dense-video" of chapter 2.
        frames_at_once: frames that go through the network together, which bounds the memory.
        grid: where the cells of features lie: "official", evenly over the whole image; "covered", on the pixels that
            they stand for, see ``networks.cells``. The two differ where a side of the image is no multiple of the
            patch, and where the stride is smaller than the patch.

    Raises:
        UserError: an unknown unit, or "patches" without ``patch_size``; a video of fewer than three frames.

    Thesis sections 8.3.2 and 2.4.3.
    """

    task = "video"
    presentation = Presentation("Video segmentation", SHARE)

    def __init__(
        self,
        methods: list[str] | None = None,
        context_frames: NonNegativeInt = 7,
        temperature: PositiveFloat = 0.1,
        neighbourhood: NonNegativeInt = 12,
        neighbourhood_unit: Literal["cells", "patches"] = "cells",
        patch_size: PositiveInt | None = None,
        top_k: PositiveInt = 5,
        ignore_void: bool = False,
        task: str = "video",
        frames_at_once: PositiveInt = 8,
        grid: Grid = "official",
    ):
        check_options(VideoPropagation, locals())
        super().__init__(methods)
        self.task = task
        if task != type(self).task:
            self.presentation = replace(self.presentation, title=f"{self.presentation.title}: {task}")
        if neighbourhood_unit == "patches" and patch_size is None:
            raise UserError("neighbourhood_unit=patches of VideoPropagation needs the backbone's patch_size in pixels")
        self.context_frames, self.temperature, self.top_k = context_frames, temperature, top_k
        self.neighbourhood, self.patch_size = neighbourhood, patch_size
        self.in_patches = neighbourhood_unit == "patches"
        self.ignore_void, self.frames_at_once, self.grid = ignore_void, frames_at_once, grid

    @override
    def new_metric(self) -> Metric:
        return VideoSegmentationQuality(self.ignore_void)

    @override
    def image_size(self, batch: Mapping[str, Any]) -> int:
        return min(batch["frames"].shape[-2:])

    @override
    def update(self, metrics: MetricOfLayer, features: Precise, batch: Mapping[str, Any]) -> None:
        if len(batch["frames"]) < 3:
            raise UserError(
                f"video {batch['name']} has {len(batch['frames'])} frames; at least 3 are needed, because the first "
                "is given and the last is not scored: leave it out of the data set's list"
            )
        cells = self.cells_of(features)
        for layer, masks in self.segment(features, batch["frames"], batch["masks"][0], cells).items():
            metrics(layer).update(masks.long(), batch["masks"])

    def segment(
        self,
        features: Callable[[Tensor], Tensor | dict[str, Tensor]],
        frames: Tensor,
        first_mask: Tensor,
        cells: Cells | None = None,
    ) -> dict[str, Tensor]:
        """Return the masks of a video by the name of the layer, given the first.

        All layers go through the video in step, so that a few frames' features are held at a time, whatever its length.

        Args:
            features: dense features, (B, 3, H, W) in [0, 1] -> (B, C, h, w), or several of these by layer.
            frames: (T, 3, S, S'), RGB in [0, 1].
            first_mask: (H, W) int64, object ids of the first frame; 0 background, 255 void.
            cells: where the cells of the features lie; they tile the frames evenly if None.

        Returns:
            (T, H, W) uint8, object ids; of many layers and frames they would be heavy in more bits.
        """

        def maps() -> Iterator[dict[str, Tensor]]:
            for part in frames.split(self.frames_at_once):
                layers = by_layer(features(part))
                yield from ({name: each[t] for name, each in layers.items()} for t in range(len(part)))

        every = maps()
        first = next(every)
        streams = zip(first, tee(chain([first], every), len(first)), strict=True)
        size = (frames.shape[-2], frames.shape[-1])
        masks = [self._masks(map(itemgetter(name), stream), size, first_mask, cells) for name, stream in streams]
        steps = list(zip(*masks, strict=True))
        return {name: torch.stack(step) for name, step in zip(first, zip(*steps, strict=True), strict=True)}

    def _masks(
        self, features: Iterator[Tensor], size: tuple[int, int], first_mask: Tensor, cells: Cells | None
    ) -> Iterator[Tensor]:
        """Yield the masks of one layer, frame by frame."""
        first_mask_known = first_mask.masked_fill(first_mask == VOID, 0)
        first = next(features)
        grid = (first.shape[-2], first.shape[-1])
        radius = self.neighbourhood
        if self.in_patches:
            assert self.patch_size is not None
            pixels = radius * self.patch_size
            radius = round(pixels * grid[1] / size[1] if cells is None else pixels / cells.size)
        propagated = propagate_labels(
            chain([first], features),
            labels_on_grid(first_mask, grid, int(first_mask_known.max()) + 1, size=size, cells=cells),
            context_frames=self.context_frames,
            temperature=self.temperature,
            radius=radius,
            top_k=self.top_k,
        )
        original = (first_mask.shape[-2], first_mask.shape[-1])
        yield first_mask_known.to(torch.uint8)
        for labels in propagated:
            yield decode_labels(labels, size, original, cells).to(torch.uint8)
