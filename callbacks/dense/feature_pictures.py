"""Pictures of dense features: what an image looks like to each method."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.dense.evaluation import Precise, check_grid, check_methods, dense_features_of, shared_networks
from callbacks.results.figures import new_figure, save_figure
from networks.cells import Cells, Grid, cells_along, cells_of
from networks.feature_maps import principal_colours, self_similarity
from networks.frozen import remembering
from visionscapes.checks import PositiveInt, check_options

TITLE_WIDTH = 21  # letters that a panel is wide


class ImageFeatures(NamedTuple):
    """One image with the features that each method gives for it, on the CPU.

    Attributes:
        image: (3, H, W) in [0, 1].
        features: (C, h, w) by method.
        cells: where their cells lie in the image, by method; they tile it evenly where it is None.
    """

    image: Tensor
    features: dict[str, Tensor]
    cells: dict[str, Cells | None] | None = None

    def place(self, method: str) -> tuple[Cells, Cells]:
        """Return where the rows and the columns of a method's features lie in the image."""
        cells = None if self.cells is None else self.cells[method]
        sides = zip(self.features[method].shape[1:], self.image.shape[1:], strict=True)
        y, x = (cells_along(cells, *side) for side in sides)
        return y, x


class DensePicture(Callback, ABC):
    """Base of the pictures: an image a row, a method a column.

    It takes the first images of every size in the test batches of ``task``, or the first images when predicting, and
    writes pictures/<name>_<size>.png, or pictures/<name>.png when predicting. Under DDP rank 0 draws what it sees.

    Args:
        images: how many images to show.
        methods: which of the module's dense features to show; all if None.
        task: of the test batches whose "image" (B, 3, S, S) is shown.
        grid: "official" stretches features over the whole image; "covered" draws them over the pixels that they stand
            for, see ``networks.cells``.

    Raises:
        UserError: an option is out of its bounds.
    """

    name: str

    def __init__(
        self,
        images: PositiveInt = 4,
        methods: list[str] | None = None,
        task: str = "discovery",
        grid: Grid = "official",
    ):
        check_options(DensePicture, locals())
        self.images, self.methods, self.task, self.grid = images, methods, task, grid
        self._shown: dict[str, list[ImageFeatures]] = {}

    @abstractmethod
    def draw(self, rows: list[ImageFeatures]) -> Any:
        """Return the figure that shows these images."""

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_methods(pl_module, self.methods)
        check_grid(pl_module, self.methods, self.grid)

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = {}

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.is_global_zero or not isinstance(batch, Mapping):
            return
        if batch.get("task") not in (self.task, "predict"):
            return
        key = self.name if batch["task"] == "predict" else f"{self.name}_{batch['image'].shape[-1]}"
        rows = self._shown.setdefault(key, [])
        images = batch["image"][: self.images - len(rows)]
        if not len(images):
            return
        features: dict[str, Tensor] = {}
        cells: dict[str, Cells | None] = {}
        with torch.no_grad(), remembering(shared_networks(pl_module)):
            for method, module in dense_features_of(pl_module, self.methods).items():
                for layer, maps in Precise(module, trainer, method)(images).items():
                    column = f"{method} layer {layer}" if layer else method
                    features[column] = maps.cpu()
                    cells[column] = None if self.grid == "official" else cells_of(module, method)
        for index, image in enumerate(images.cpu()):
            rows.append(ImageFeatures(image, {method: maps[index] for method, maps in features.items()}, cells))

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for key, rows in self._shown.items():
            save_figure(self.draw(rows), Path(trainer.default_root_dir) / "pictures" / f"{key}.png")
        self._shown = {}

    on_predict_epoch_start = on_test_epoch_start
    on_predict_batch_end = on_test_batch_end
    on_predict_epoch_end = on_test_epoch_end


class SelfSimilarityPicture(DensePicture):
    """Cosine similarity of every cell to the central one, marked in red (thesis section 8.5.2, Figure 8.5).

    The central cell is (h // 2, w // 2) and each map is stretched to its own range, both as in the official visualiser.

    Args:
        images: how many images to show.
        methods: which of the module's dense features to show; all if None.
        task: of the test batches whose "image" (B, 3, S, S) is shown.
        grid: see ``DensePicture``.
    """

    name = "self_similarity"

    @override
    def draw(self, rows: list[ImageFeatures]) -> Any:
        figure, panels = grid(rows)
        for row, line in zip(rows, panels, strict=True):
            for panel, (method, features) in zip(line[1:], row.features.items(), strict=True):
                h, w = features.shape[1:]
                similarity = self_similarity(features, h // 2, w // 2)
                draw_cells(panel, row, method, similarity, cmap="viridis", vmin=0, vmax=1)
            first, features = next(iter(row.features.items()))
            h, w = features.shape[1:]
            rows_lie, columns_lie = row.place(first)
            for panel in line:
                x, y = columns_lie.centre(w // 2), rows_lie.centre(h // 2)
                panel.plot([x], [y], "o", color="red", markersize=5, markeredgecolor="white", markeredgewidth=0.7)
        return figure


class PrincipalComponentPicture(DensePicture):
    """The three first principal components of the features as red, green and blue.

    Each method has one basis for all images, turned to agree with the first method's, so that equal colours mean
    equal features within a column and similar ones across columns.

    Args:
        images: how many images to show.
        methods: which of the module's dense features to show; all if None.
        task: of the test batches whose "image" (B, 3, S, S) is shown.
        grid: see ``DensePicture``.
    """

    name = "principal_components"

    @override
    def draw(self, rows: list[ImageFeatures]) -> Any:
        figure, panels = grid(rows)
        methods = list(rows[0].features)
        colours = principal_colours([[row.features[method] for row in rows] for method in methods])
        for column, (method, maps) in enumerate(zip(methods, colours, strict=True), start=1):
            for line, row, colour in zip(panels, rows, maps, strict=True):
                draw_cells(line[column], row, method, colour)
        return figure


def draw_cells(panel: Any, row: ImageFeatures, method: str, values: Tensor, **options: Any) -> None:
    """Draw values (h, w) or (h, w, 3) of a method's cells where these lie in the image.

    Args:
        panel: of the figure.
        row: the image.
        method: whose cells they are.
        values: of the cells.
        options: of ``imshow``.
    """
    y, x = row.place(method)
    h, w = values.shape[:2]
    panel.imshow(values.numpy(), extent=(x.start, x.edge(w), y.edge(h), y.start), **options)
    height, width = row.image.shape[1:]
    panel.set(xlim=(0, width), ylim=(height, 0))


def grid(rows: list[ImageFeatures]) -> tuple[Any, Any]:
    """Return a figure and its panels (row, 1 + method), the images drawn, methods and grid sizes written above."""
    same = len({row.image.shape for row in rows}) == 1
    h, w = rows[0].image.shape[1:]
    titles = ["image" + (f"\n{h}×{w} px" if same else "")]
    for method, features in rows[0].features.items():
        h, w = features.shape[1:]
        titles.append("\n".join([*wrap(method, TITLE_WIDTH), *([f"{h}×{w}"] if same else [])]))
    heights = [row.image.shape[1] / row.image.shape[2] for row in rows]
    side = 1.55  # inches, width of a panel
    lines = 1 + max(title.count("\n") for title in titles)
    figure = new_figure(side * len(titles), side * sum(heights) + 0.15 + 0.15 * lines)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    panels = figure.subplots(len(rows), len(titles), squeeze=False, gridspec_kw={"height_ratios": heights})
    for panel in panels.flat:
        panel.set_axis_off()
    for line, row in zip(panels, rows, strict=True):
        height, width = row.image.shape[1:]
        line[0].imshow(row.image.clamp(0, 1).permute(1, 2, 0).numpy(), extent=(0, width, height, 0))
    for panel, title in zip(panels[0], titles, strict=True):
        panel.set_title(title, fontsize=9)
    return figure, panels
