"""Unsupervised object discovery with TokenCut."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from torchmetrics import Metric
from typing_extensions import override

from callbacks.dense.evaluation import DenseEvaluation, MetricOfLayer, Precise
from callbacks.results.presentation import SHARE, Presentation
from metrics.corloc import CorLoc
from networks.cells import Grid
from networks.tokencut import EPS, discover_box
from visionscapes.checks import Bounds, PositiveFloat, Share, check_options


class ObjectDiscovery(DenseEvaluation):
    """CorLoc of the one box that TokenCut finds in an image, on batches of task "discovery" (thesis section 8.3.3).

    Args:
        methods: which of the module's dense features to evaluate; all if None.
        tau: cosine above which two cells are connected. The official code has 0.2 for VOC and 0.3 for COCO20k; the
            thesis gives none.
        eps: weight of an edge between dissimilar cells.
        iou_threshold: from which on a box counts as correct.
        without_boxes: what an image without annotated boxes counts as, a "miss", or "skip" to leave it out.
        grid: where the cells of features lie: "official", evenly over the whole image; "covered", on the pixels that
            they stand for, see ``networks.cells``. The two differ where a side of the image is no multiple of the
            patch, and where the stride is smaller than the patch.

    Raises:
        UserError: ``without_boxes`` or ``grid`` is neither.
    """

    task = "discovery"
    presentation = Presentation("Object discovery", SHARE)

    def __init__(
        self,
        methods: list[str] | None = None,
        tau: Annotated[float, Bounds(least=-1, most=1)] = 0.2,
        eps: PositiveFloat = EPS,
        iou_threshold: Share = 0.5,
        without_boxes: Literal["miss", "skip"] = "miss",
        grid: Grid = "official",
    ):
        check_options(ObjectDiscovery, locals())
        super().__init__(methods)
        self.tau, self.eps = tau, eps
        self.iou_threshold, self.without_boxes, self.grid = iou_threshold, without_boxes, grid

    @override
    def new_metric(self) -> Metric:
        return CorLoc(self.iou_threshold, self.without_boxes)

    @override
    def image_size(self, batch: Mapping[str, Any]) -> int:
        return batch["image"].shape[-1]

    @override
    def update(self, metrics: MetricOfLayer, features: Precise, batch: Mapping[str, Any]) -> None:
        height, width = batch["image"].shape[-2:]
        cells = self.cells_of(features)
        for layer, maps in features(batch["image"]).items():
            for one, boxes in zip(maps, batch["boxes"], strict=True):
                box = discover_box(one, (height, width), tau=self.tau, eps=self.eps, cells=cells)
                metrics(layer).update(box.to(boxes.device), boxes)
