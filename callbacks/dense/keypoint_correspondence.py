"""Keypoint correspondence by nearest dense features."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from callbacks.dense.evaluation import DenseEvaluation, MetricOfLayer, Precise
from callbacks.results.presentation import SHARE, Presentation
from metrics.pck import PercentageOfCorrectKeypoints
from networks.cells import Cells, Grid
from networks.correspondence import MatchingRule, match_keypoints
from visionscapes.checks import Among, PositiveFloat, check_options

WARPS = "Correspondence of warped photographs"  # title where the pairs are those of task "warps"


class KeypointCorrespondence(DenseEvaluation):
    """Percentage of correct keypoints (PCK) between pairs of images, on batches of task "keypoints".

    Args:
        methods: which of the module's dense features to evaluate; all if None.
        alphas: thresholds as fractions of the reference length.
        matching: rules of ``networks.correspondence.match_keypoints``: "official" is reported as "PCK@0.1",
            "normalised" as "PCK@0.1 (normalised)". Side by side because they rank methods differently: without
            normalisation, pixels between cells have shorter vectors and lose.
        aggregation: "category" (official) or "pair"; see ``metrics.pck``.
        comparison: "<" (official) or "<=".
        reference: length that alphas are fractions of: "box", the longer side of the target's box (official code of
            chapters 2 and 8), or "image", the longer side of the image (text of chapter 2).
        task: of the batches, if pairs come under another name, such as the "warps" of ``datamodules.SceneWorld``.
        grid: where the cells of features lie: "official", evenly over the whole image; "covered", on the pixels that
            they stand for, see ``networks.cells``. The two differ where a side of the image is no multiple of the
            patch, and where the stride is smaller than the patch.
            Pixels that no cell covers are no candidates then.

    Raises:
        UserError: a choice that does not exist.

    Thesis sections 8.3.1 and 2.4.
    """

    task = "keypoints"
    presentation = Presentation("Keypoint correspondence", SHARE)

    def __init__(
        self,
        methods: list[str] | None = None,
        alphas: list[Annotated[PositiveFloat, Among(1)]] = [0.1, 0.05, 0.01],  # noqa: B006 (never changed; a list is what YAML gives)
        matching: list[Annotated[MatchingRule, Among(1)]] = ["official", "normalised"],  # noqa: B006
        aggregation: Literal["category", "pair"] = "category",
        comparison: Literal["<", "<="] = "<",
        reference: Literal["box", "image"] = "box",
        task: str = "keypoints",
        grid: Grid = "official",
    ):
        check_options(KeypointCorrespondence, locals())
        super().__init__(methods)
        self.task = task
        if task != type(self).task:
            title = WARPS if task == "warps" else f"{self.presentation.title}: {task}"
            self.presentation = replace(self.presentation, title=title)
        self.rules = [rule for rule in get_args(MatchingRule) if rule in matching]
        self.alphas, self.aggregation, self.comparison = alphas, aggregation, comparison
        self.reference, self.grid = reference, grid

    @override
    def new_metric(self) -> Metric:
        variants = ["" if rule == "official" else f" ({rule})" for rule in self.rules]
        return PercentageOfCorrectKeypoints(self.alphas, self.aggregation, self.comparison, variants=variants)  # type: ignore[arg-type]

    @override
    def image_size(self, batch: Mapping[str, Any]) -> int:
        return batch["target_image"].shape[-1]

    @override
    def update(self, metrics: MetricOfLayer, features: Precise, batch: Mapping[str, Any]) -> None:
        cells = self.cells_of(features)
        images = [batch["source_image"], batch["target_image"]]
        if images[0].shape == images[1].shape:  # one pass is quicker than two
            maps = {layer: both.chunk(2) for layer, both in features(torch.cat(images)).items()}
        else:
            sources, targets = features(images[0]), features(images[1])
            maps = {layer: (sources[layer], targets[layer]) for layer in sources}
        for layer, pair in maps.items():
            self._match(metrics(layer), pair, cells, batch)

    def _match(self, metric: Metric, maps: Sequence[Tensor], cells: Cells | None, batch: Mapping[str, Any]) -> None:
        (source_size, size), (sources, targets) = (
            [(image.shape[-2], image.shape[-1]) for image in (batch["source_image"], batch["target_image"])],
            maps,
        )
        for index, valid in enumerate(batch["keypoint_valid"]):
            if not valid.any():
                continue
            marked, wanted = (batch[f"{side}_keypoints"][index, valid] for side in ("source", "target"))
            found = match_keypoints(
                sources[index], targets[index], marked, size, self.rules, source_size=source_size, cells=cells
            )
            reference = batch["target_box_size"][index] if self.reference == "box" else max(size)
            metric.update(found, wanted, reference, batch["category"][index])
