"""How the attention heads of every layer behave on average over images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from callbacks.results.array_store import Arrays
from callbacks.results.presentation import NEUTRAL, Presentation
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from networks.attention_statistics import (
    aligned_attention,
    attention_distance,
    centre_of_mass,
    cls_rows,
    patch_rows,
    repeating_score,
)
from networks.vit_layers import BlockView, Layered, Observer, RandomFeatures
from visionscapes.checks import NonNegativeInt, check_options
from visionscapes.processes import is_first

_ENTRIES_AT_ONCE = 2**24  # of renormalised maps, which bounds their memory to 64 MiB a copy


class AttentionAnalysis(LayerEvaluation):
    """Average attention maps, their alignment and distance, and repeated patterns, on batches of task "images".

    For every head of every layer: the mean attention of the class token to the patches, as it is; the Aligned
    Aggregated Attention Map of the patches and its centre of mass; the Average Attention Distance. For every layer: how
    much of the heads' attention is one sparse pattern that they share, see
    ``networks.attention_statistics.repeating_score``.
    Attention among patches is renormalised without the prefix tokens. A query whose attention is wholly on these has
    no distance, adds nothing to the aligned map, and is counted.

    Args:
        examples: of so many images the maps themselves are kept: of the first ones that come, in the first process.

    Raises:
        UserError: a negative number of examples.

    Thesis 2.3.1 to 2.3.3 and 2.7.4.
    """

    protocol = "attention"
    presentation = Presentation("Attention", NEUTRAL)
    tasks = ("images",)
    needs_attention = True

    def __init__(self, examples: NonNegativeInt = 10):
        check_options(AttentionAnalysis, locals())
        super().__init__()
        self.examples = examples

    @override
    def measures(self, vit: Layered) -> bool:
        return not isinstance(vit, RandomFeatures)

    @override
    def new_state(self, vit: Layered) -> "AttentionSums":
        return AttentionSums(vit.depth, vit.heads, vit.grid, size=vit.data_size, examples=self.examples)

    @override
    def observer(self, state: "AttentionSums", vit: Layered, batch: Mapping[str, Any]) -> Observer:  # type: ignore[override]
        state.update(batch["image"])

        def look(view: BlockView) -> None:
            assert view.attention is not None
            state.add_maps(view.layer, view.attention, view.prefix)

        return look

    @override
    def figures(self, arrays: Arrays) -> dict[str, np.ndarray]:
        counted = ~np.isnan(arrays["distance"])
        distance = np.where(counted, arrays["distance"], 0).sum(1) / np.maximum(counted.sum(1), 1)
        return {"attention distance": distance, "repeating score": arrays["repeating"]}


class AttentionSums(Metric):
    """Sums over images of what attention maps are reduced to; ``compute`` returns means.

    ``compute`` returns "cls_map" (L, H, h, w), "aligned" (L, H, 2h - 1, 2w - 1), "distance" (L, H), "offset" (L, H, 2),
    "cls_only" (L, H), the share of queries whose attention is wholly on prefix tokens, "repeating" (L,), all float32,
    distance and offset NaN where all queries are such; "images" (); and of K examples, fewer if there were not so
    many, "examples_cls" (K, L, H, h, w) and "examples_image" (K, 3, S, S) uint8.

    Args:
        depth: number of layers L.
        heads: H.
        grid: h and w.
        size: S, side of the images in pixels.
        examples: K.
    """

    full_state_update = False
    images: Tensor
    cls_map: Tensor
    rows: Tensor
    empty: Tensor
    repeating: Tensor
    kept: Tensor
    examples_cls: Tensor
    examples_image: Tensor

    def __init__(self, depth: int, heads: int, grid: tuple[int, int], size: int, examples: int, **kwargs: Any):
        super().__init__(**kwargs)
        (h, w), self.grid = grid, grid
        sums = {
            "cls_map": (depth, heads, h, w),
            "empty": (depth, heads),
            "repeating": (depth,),
        }
        for name, shape in sums.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        # Of a model, not of an image: 354 MB for a ViT-B/8. Aligned maps and distances are linear in the rows, so that
        # both are made of this sum once, at the end.
        self.add_state("rows", torch.zeros(depth, heads, h * w, h * w), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")
        # Sums as well: all processes but the first add zeros.
        self.add_state("kept", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("examples_cls", torch.zeros(examples, depth, heads, h, w), dist_reduce_fx="sum")
        self.add_state("examples_image", torch.zeros(examples, 3, size, size, dtype=torch.uint8), dist_reduce_fx="sum")
        self._taken = slice(0, 0)

    @override
    def update(self, images: Tensor) -> None:
        """Add a batch of images, of which ``add_maps`` then adds every layer.

        Args:
            images: (B, 3, S, S), RGB in [0, 1].
        """
        self.images += len(images)
        wanted = min(len(self.examples_image) - int(self.kept), len(images)) if is_first() else 0
        self._taken = slice(int(self.kept), int(self.kept) + wanted)
        self.examples_image[self._taken] = (images[:wanted] * 255).round().clamp(0, 255).to(torch.uint8)
        self.kept += wanted

    def add_maps(self, layer: int, attention: Tensor, prefix: int) -> None:
        """Add the attention of one layer for the images of the last ``update``.

        Args:
            layer: from 0.
            attention: (B, H, P + N, P + N) after the softmax.
            prefix: P.
        """
        cls = cls_rows(attention, prefix).unflatten(-1, self.grid)
        self.cls_map[layer] += cls.sum(0)
        self.repeating[layer] += repeating_score(cls).sum()
        self.examples_cls[self._taken, layer] = cls[: self._taken.stop - self._taken.start]
        for part in attention.split(max(1, _ENTRIES_AT_ONCE // attention[0].numel())):
            rows, empty = patch_rows(part, prefix)
            self.rows[layer] += rows.sum(0)
            self.empty[layer] += empty.sum((0, 2))

    @override
    def compute(self) -> dict[str, np.ndarray]:  # torchmetrics would take the axes of a tensor with one entry
        """Return the arrays; see the class."""
        images, kept = int(self.images), int(self.kept)
        queries = images * self.grid[0] * self.grid[1]
        aligned = torch.stack([aligned_attention(rows[None], self.grid) for rows in self.rows])
        arrays = {
            "cls_map": self.cls_map / images,
            "aligned": aligned / queries,
            "distance": attention_distance(self.rows, self.grid),
            "offset": centre_of_mass(aligned),
            "repeating": self.repeating / images,
            "cls_only": self.empty / queries,
            "examples_cls": self.examples_cls[:kept],
        }
        return {name: values.float().cpu().numpy() for name, values in arrays.items()} | {
            "examples_image": self.examples_image[:kept].to(torch.uint8).cpu().numpy(),
            "images": np.array(images),
        }
