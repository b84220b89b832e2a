"""How well attention maps agree with the objects in an image."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from callbacks.results.array_store import Arrays
from callbacks.results.presentation import SHARE, Presentation
from callbacks.vit_analysis.feature_bank import INTEGER, NAME, Column, FeatureBank, decoded_names, encoded_name
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from networks.attention_statistics import cls_rows, mask_iou, mass_mask, mean_patch_row, token_masks
from networks.vit_layers import BlockView, Layered, Observer, RandomFeatures
from visionscapes.checks import PositiveShare, check_options
from visionscapes.errors import UserError

SOURCES = {"cls": ("CLS", cls_rows), "spatial": ("spatial", mean_patch_row)}
_TABLE = "saliency"


class AttentionSaliency(LayerEvaluation):
    """Intersection over union of attention masks and annotated objects, on batches of task "saliency".

    A head's mask holds the tokens with the top 60 % of its attention: of the class token, or of all patches on average.
    The annotation of an image is the union of its objects at the resolution of the tokens. Images whose annotation is
    empty there are left out and counted. Data sets are told apart by batch["dataset"].

    The official code takes the best head for every image and then the mean over images, which no user could do without
    the annotation; the thesis speaks of the single best head of a layer. Both are reported, the latter as "best head".

    Args:
        share: of the attention that a mask holds, in (0, 1].

    Raises:
        UserError: a share outside (0, 1]; no image of a data set shows an annotated object.

    Thesis 2.3.4 and 2.7.4.3.
    """

    protocol = "saliency"
    presentation = Presentation("Agreement of attention with salient content", SHARE)
    tasks = ("saliency",)
    needs_attention = True

    def __init__(self, share: PositiveShare = 0.6):
        check_options(AttentionSaliency, locals())
        super().__init__()
        self.share = share

    @override
    def measures(self, vit: Layered) -> bool:
        return not isinstance(vit, RandomFeatures)

    @override
    def new_state(self, vit: Layered) -> FeatureBank:
        heads = Column((vit.heads,), torch.float32)
        columns = {f"{source}{layer}": heads for source in SOURCES for layer in range(vit.depth)}
        columns |= {"annotated": INTEGER, "dataset": NAME}
        return FeatureBank({_TABLE: columns}, partial(_summary, depth=vit.depth))

    @override
    def observer(self, state: FeatureBank, vit: Layered, batch: Mapping[str, Any]) -> Observer:  # type: ignore[override]
        wanted = token_masks(batch["mask"], vit.grid).flatten(1)
        names = encoded_name(batch["dataset"], len(wanted))
        state.update(_TABLE, {"annotated": wanted.any(1), "dataset": names})

        def look(view: BlockView) -> None:
            assert view.attention is not None
            for source, (_, weights) in SOURCES.items():
                found = mass_mask(weights(view.attention, view.prefix), self.share)
                state.update(_TABLE, {f"{source}{view.layer}": mask_iou(found, wanted[:, None])})

        return look

    @override
    def figures(self, arrays: Arrays) -> dict[str, np.ndarray]:
        figures = {}
        for dataset in (key.removesuffix("/images") for key in arrays if key.endswith("/images")):
            for source, (title, _) in SOURCES.items():
                figures[f"{dataset} {title} IoU"] = arrays[f"{dataset}/{source}_best"]
                figures[f"{dataset} {title} IoU best head"] = arrays[f"{dataset}/{source}_head"].max(1)
        return figures


def _summary(bank: FeatureBank, depth: int) -> Arrays:
    """Return for each data set d and source s "<d>/<s>_head" (L, H), "<d>/<s>_best" (L,), "<d>/images", "<d>/empty".

    Raises:
        UserError: no image of a data set shows an annotated object.
    """
    arrays: Arrays = {}
    annotated = bank.raw(_TABLE, "annotated").bool()
    codes, numbers = bank.raw(_TABLE, "dataset").unique(dim=0, return_inverse=True)
    for number, dataset in enumerate(decoded_names(codes)):
        rows, own = annotated & (numbers == number), int((numbers == number).sum())
        count = int(rows.sum())
        if count == 0:
            raise UserError(
                f"none of {own} images of '{dataset}' has an object in its mask, so that attention cannot be compared "
                "with it: check the annotation files of the data's task saliency, or leave the task out"
            )
        for source in SOURCES:
            iou = torch.stack([bank.raw(_TABLE, f"{source}{layer}")[rows] for layer in range(depth)]).double()
            # Not tensors, of which torchmetrics would take the axes where there is one entry.
            arrays[f"{dataset}/{source}_head"] = iou.mean(1).float().numpy()
            arrays[f"{dataset}/{source}_best"] = iou.max(2).values.mean(1).float().numpy()
        arrays |= {f"{dataset}/images": np.array(count), f"{dataset}/empty": np.array(own - count)}
    return arrays
