"""Clusters of features against labels of images, objects and parts, layer by layer."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from typing_extensions import override

from callbacks.results.array_store import Arrays
from callbacks.results.presentation import SHARE, Presentation
from callbacks.vit_analysis.feature_bank import INTEGER, Column, FeatureBank, positions
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from metrics.clustering import SCORES, clustering_scores
from networks.vit_layers import BlockView, Layered, Observer
from visionscapes.checks import NumpySeed, PositiveInt, check_options
from visionscapes.errors import UserError

REGIONS_PER_IMAGE = 2**20  # more than any picture has; regions are numbered through for a fixed order
# Key of the arrays: task, column of the features, option that sets the number of clusters.
PARTS = {
    "image_cls": ("images", "cls", "clusters"),
    "image_spatial": ("images", "spatial", "clusters"),
    "object": ("objects", "region", "object_clusters"),
    "part": ("parts", "region", "part_clusters"),
}


class FeatureClustering(LayerEvaluation):
    """Purity, NMI and ARI of k-means clusters of every block's features, against labels.

    Task "images": the class token and the mean of the spatial tokens of every image. Tasks "objects" and "parts": the
    spatial tokens of the tiled picture, averaged over each instance with weights that its mask gives: brought to the
    token grid by averaging areas, then scaled to sum 1. Features are clustered as they are. Samples with label -1 and
    instances with an empty mask are left out.

    k-means takes as many clusters as there are different labels, unless an option says otherwise. That is the thesis'
    k = 50 for ImageNet-50. For objects and parts the thesis does not give k; the official code takes 80 for both, the
    classes of COCO, also where PartImageNet has 40 kinds of parts: ``part_clusters: 80`` repeats it. Purity grows with
    k by itself, so compare models at one k only.

    Args:
        clusters: k for images.
        object_clusters: k for objects.
        part_clusters: k for parts.
        seed: of k-means.

    Raises:
        UserError: fewer than one cluster; at the end of a task, fewer samples than clusters.

    Thesis 2.4.2, 2.4.3, 2.7.3 and 2.7.5.5.
    """

    protocol = "clustering"
    presentation = Presentation("Clusters of the features", SHARE)
    tasks = ("images", "objects", "parts")

    def __init__(
        self,
        clusters: PositiveInt | None = None,
        object_clusters: PositiveInt | None = None,
        part_clusters: PositiveInt | None = None,
        seed: NumpySeed = 0,
    ):
        check_options(FeatureClustering, locals())
        super().__init__()
        self.clusters, self.object_clusters, self.part_clusters = clusters, object_clusters, part_clusters
        self.seed = seed

    @override
    def new_state(self, vit: Layered) -> FeatureBank:
        features, layers = Column((vit.dim,), torch.float32), range(vit.depth)
        names: dict[str, list[str]] = {}
        for task, kind, _ in PARTS.values():
            names.setdefault(task, []).extend(f"{kind}{layer}" for layer in layers)
        tables = {
            task: {"index": INTEGER, "label": INTEGER} | dict.fromkeys(columns, features)
            for task, columns in names.items()
        }
        # "seen" has one row an image, so that a process can tell how many it has passed; "empty" counts masks.
        tables |= {f"{task}_seen": {"empty": INTEGER} for task in ("objects", "parts")}
        return FeatureBank(tables, partial(self.summary, depth=vit.depth))

    @override
    def observer(self, state: FeatureBank, vit: Layered, batch: Mapping[str, Any]) -> Observer:  # type: ignore[override]
        task = batch["task"]
        state.update(task, {"index": batch["index"], "label": batch["label"]})

        def keep(view: BlockView) -> None:
            spatial = view.patches.float().mean(1)
            state.update(task, {f"cls{view.layer}": view.cls, f"spatial{view.layer}": spatial})

        return keep

    @override
    def observe(self, vit: Layered, batch: Mapping[str, Any], peers: list[tuple[LayerEvaluation, Metric]]) -> None:
        if batch["task"] == "images":
            super().observe(vit, batch, peers)
            return
        dense = vit(batch["image"])
        for peer, state in peers:
            assert isinstance(peer, FeatureClustering), f"nobody else can look at task {batch['task']}"
            assert isinstance(state, FeatureBank)
            keep_regions(state, batch, dense)

    def summary(self, bank: FeatureBank, depth: int) -> dict[str, Any]:
        """Return by key of ``PARTS`` (L, 3) purity, NMI and ARI, "<key>_count" () samples, "<key>_skipped" () masks.

        Raises:
            UserError: fewer samples than clusters.
        """
        arrays: dict[str, Any] = {}
        for key, (task, kind, option) in PARTS.items():
            rows = bank.labelled(task)
            if not len(rows):
                continue
            labels = bank.raw(task, "label")[rows].numpy()
            k = getattr(self, option) or len(np.unique(labels))
            if k > len(labels):
                raise UserError(
                    f"{option}={k} of FeatureClustering is more than the {len(labels)} labelled samples of task "
                    f"{task}: lower it, or leave it out for one cluster a label"
                )
            features = [bank.raw(task, f"{kind}{layer}")[rows].numpy() for layer in range(depth)]
            scores = clustering_scores(features, labels, k, self.seed, jobs=torch.get_num_threads())
            arrays[key] = scores.astype(np.float32)
            arrays[f"{key}_count"] = np.array(len(labels))
            if kind == "region":
                arrays[f"{key}_skipped"] = bank.raw(f"{task}_seen", "empty").sum().numpy()
        return arrays

    @override
    def figures(self, arrays: Arrays) -> dict[str, np.ndarray]:
        names = {"image_cls": "image CLS", "image_spatial": "image spatial", "object": "object", "part": "part"}
        return {
            f"{name} {score}": arrays[key][:, column]
            for key, name in names.items()
            if key in arrays
            for column, score in enumerate(SCORES)
        }


def keep_regions(state: FeatureBank, batch: Mapping[str, Any], dense: Mapping[str, Tensor]) -> None:
    """Add the features of a picture's instances to the table of its task, and how many masks were empty.

    Args:
        state: takes them.
        batch: "task", "masks" (M, H, W) bool, "label" (M,).
        dense: maps (1, C, h, w) by number of the layer from "1" on.
    """
    task = batch["task"]
    masks = torch.as_tensor(batch["masks"])
    shown = masks.flatten(1).any(1)
    image = positions(batch, len(getattr(state, f"{task}_seen_empty")), 1)
    state.update(f"{task}_seen", {"empty": (~shown).sum()})
    if not shown.any():
        return
    index = image * REGIONS_PER_IMAGE + torch.arange(len(masks))
    state.update(task, {"index": index[shown.cpu()], "label": batch["label"][shown]})
    for layer, features in dense.items():
        means = masked_means(features[0], masks[shown])
        state.update(task, {f"region{int(layer) - 1}": means})


def masked_means(features: Tensor, masks: Tensor) -> Tensor:
    """Return the mean of features over each mask, weighted by how much of a cell the mask covers.

    Args:
        features: (C, h, w).
        masks: (M, H, W) bool, none of them empty, H >= h and W >= w.

    Returns:
        (M, C) float32. Thesis 2.4.3.
    """
    with torch.autocast(features.device.type, enabled=False):
        weights = F.interpolate(masks[None].float(), features.shape[-2:], mode="area")[0].flatten(1)
        return weights / weights.sum(1, keepdim=True) @ features.float().flatten(1).T
