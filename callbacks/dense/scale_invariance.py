"""How far features stay the same when the image changes its size."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from typing_extensions import override

from callbacks.dense.evaluation import DenseEvaluation, MetricOfLayer, Precise
from callbacks.results.figures import PALETTE, new_figure, save_figure
from callbacks.results.presentation import SHARE, Presentation
from callbacks.results.result import Result
from metrics.cka import SMALLEST_BATCH, MinibatchCKA
from networks.cells import Cells, Grid
from visionscapes.checks import Among, Bounds, ImageSize, PositiveInt, check_options


class ScaleInvariance(DenseEvaluation):
    """CKA between the features of the same images at different sizes (thesis section 8.5.1, Figure 8.4).

    The images of one evaluation task are resized to every scale; their features, flattened, are compared with
    ``metrics.cka.MinibatchCKA`` as "CKA <scale>-><scale>", and pictures/scale_invariance.png shows the result as
    Figure 8.4 does. Images are pooled into batches of ``batch_size`` on each process, because the estimator compares
    images within a batch; with several processes the batches, and with them the figure, differ a little.

    Args:
        methods: which of the module's dense features to evaluate; all if None.
        scales: sides in pixels that every image is resized to, at least two.
        task: of the batches whose "image" (B, 3, S, S) is taken.
        image_size: S of the images that are taken; the largest scale if None. Other sizes of the task are passed over,
            for they hold the same images.
        batch_size: images that are compared with each other, at least 4.
        limit: how many images to take at most; all if None.
        grid: "official" compares all cells of every scale; "covered" only those whose centres lie on the part of the
            picture that the network sees at every scale, for at a side that is no multiple of the patch it sees less.

    Raises:
        UserError: fewer than two different scales, or batches of fewer than four.
    """

    protocol = "scale_invariance"
    presentation = Presentation("Scale invariance", SHARE)

    def __init__(
        self,
        methods: list[str] | None = None,
        scales: list[Annotated[ImageSize, Among(2, different=True)]] = [56, 112, 224, 448],  # noqa: B006 (never changed; a list is what YAML gives)
        task: str = "discovery",
        image_size: ImageSize | None = None,
        batch_size: Annotated[int, Bounds(least=SMALLEST_BATCH)] = 16,
        limit: PositiveInt | None = None,
        grid: Grid = "official",
    ):
        check_options(ScaleInvariance, locals())
        super().__init__(methods)
        self.scales, self.task, self.batch_size, self.limit = sorted(scales), task, batch_size, limit
        self.source_size, self.grid = image_size or max(scales), grid
        self._held: list[Tensor] = []
        self._seen = 0

    @override
    def new_metric(self) -> Metric:
        return MinibatchCKA([str(scale) for scale in self.scales])

    @override
    def image_size(self, batch: Mapping[str, Any]) -> int:
        return batch["image"].shape[-1]

    @override
    def update(self, metrics: MetricOfLayer, features: Precise, batch: Mapping[str, Any]) -> None:
        scales = [features(resize(batch["image"], scale)) for scale in self.scales]
        cells = self.cells_of(features)
        for layer in scales[0]:
            maps = [each[layer] for each in scales]
            metrics(layer).update(maps if cells is None else seen_at_every_scale(maps, self.scales, cells))

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        self._held, self._seen = [], 0

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(batch, Mapping) or batch.get("task") != self.task:
            return
        if self.image_size(batch) != self.source_size:
            return
        for image in batch["image"]:
            # Samples are dealt in turn, so this is the position of the image in the whole data set.
            position = self._seen * trainer.world_size + trainer.global_rank
            self._seen += 1
            if self.limit is None or position < self.limit:
                self._held.append(image)
            if len(self._held) == self.batch_size:
                self._evaluate_held(trainer, pl_module)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if len(self._held) >= SMALLEST_BATCH:
            self._evaluate_held(trainer, pl_module)
        self._held = []
        self.results = []
        super().on_validation_epoch_end(trainer, pl_module)
        if trainer.sanity_checking:
            return
        if not self.results:
            rank_zero_warn(
                f"ScaleInvariance saw fewer than {SMALLEST_BATCH} images of {self.source_size} px in task "
                f"{self.task!r}; set its image_size to one of the data's image sizes"
            )
        elif trainer.is_global_zero:
            figure = draw_scales(self.results, self.scales)
            save_figure(figure, Path(trainer.default_root_dir) / "pictures" / "scale_invariance.png")

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def _evaluate_held(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batch = {"task": self.task, "image": torch.stack(self._held)}
        super().on_validation_batch_end(trainer, pl_module, None, batch, 0)
        self._held = []


def resize(images: Tensor, side: int) -> Tensor:
    """Return images (B, 3, H, W) at side x side pixels, antialiased where they shrink."""
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)


def seen_at_every_scale(maps: list[Tensor], scales: list[int], cells: Cells) -> list[Tensor]:
    """Return the cells whose centres lie on the part of the picture that the cells of all scales cover.

    Args:
        maps: (B, C, h, h) for each scale.
        scales: sides of the square images in pixels.
        cells: where the cells lie in them.
    """
    sides = [(cells.at(1, scale), each.shape[-1]) for each, scale in zip(maps, scales, strict=True)]  # shares of a side
    first, end = max(side.edge(0) for side, _ in sides), min(side.edge(count) for side, count in sides)
    first, end = first + 1e-9, end - 1e-9  # a centre on the border is not on that part, whatever it is rounded to
    kept = [[cell for cell in range(count) if first < side.centre(cell) < end] for side, count in sides]
    return [each[..., rows[0] : rows[-1] + 1, rows[0] : rows[-1] + 1] for each, rows in zip(maps, kept, strict=True)]


def draw_scales(results: list[Result], scales: list[int]) -> Any:
    """Return Figure 8.4: one panel a source scale, CKA against the destination scale, one line a method.

    Every line passes through 1 at its own source scale, where the features are the same.

    Args:
        results: rows whose metric is "CKA <a>-><b>", a < b.
        scales: in pixels, ascending.
    """
    values = {(row.method, row.metric): (row.value, row.standard_error) for row in results}
    methods = list(dict.fromkeys(row.method for row in results))
    figure = new_figure(max(5.0, 2.6 * len(scales)), 3.1)
    panels = figure.subplots(1, len(scales), sharey=True, squeeze=False)[0]
    for panel, source in zip(panels, scales, strict=True):
        for method, colour in zip(methods, PALETTE * len(methods), strict=False):
            pairs = [
                (1.0, 0.0) if scale == source else values[method, f"CKA {min(source, scale)}->{max(source, scale)}"]
                for scale in scales
            ]
            panel.errorbar(
                range(len(scales)),
                [value for value, _ in pairs],
                [error for _, error in pairs],
                color=colour,
                label=method,
                marker="o",
                markersize=4,
                linewidth=1.5,
                capsize=2,
            )
        panel.set_title(f"source {source} px", fontsize=10)
        panel.set_xticks(range(len(scales)), [str(scale) for scale in scales])
        panel.axvline(scales.index(source), color="0.8", linewidth=1, zorder=0)
        panel.set_xlabel("destination (px)")
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("CKA")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, fontsize=9
    )
    return figure
