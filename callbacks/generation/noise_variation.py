"""How much, and where, generated images vary with the spatial noise."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.generation.evaluation import GenerationEvaluation, Key, Metrics, generating, generator_of
from callbacks.generation.pictures import new_grid, show, shown_condition
from callbacks.results.figures import save_figure
from callbacks.results.presentation import HIGHER, NEUTRAL, Presentation
from callbacks.results.result import Result
from metrics.image_means import ImageMeans
from networks.generated import Generated, repeated, to_unit_range
from visionscapes.checks import AnyInt, Bounds, NonNegativeInt, PositiveShare, check_options
from visionscapes.errors import UserError
from visionscapes.seeding import named_seed

STOCHASTIC = ["hair", "l_brow", "r_brow"]
_FIGURES = ("std", "inside", "outside", "Pearson", "Spearman")


class NoiseVariation(GenerationEvaluation):
    """Standard deviation of every pixel over outputs of the same sample (figures 5.8 and 5.11).

    Protocol "noise_variation". "std" of method "image" is the mean over the pixels and colours of an image, shown
    colours in [0, 1], the unbiased estimate of the variance, the mean over images; for data with named labels also of
    each label's pixels, averaged over the images that have it, with the label as method. "std ratio" is the mean
    inside the stochastic regions over that outside, of images that have both; pixels without a label are in neither.
    Where batches have "texture_std" (B, H, W), the true standard deviation, "Pearson" and "Spearman" are its
    correlations over pixels with the generated one, the mean over images in which both vary. Writes
    pictures/noise_variation.png with the rows of Figure 5.8: input, one sample, standard deviation, truth; under DDP
    the first process draws what it sees.

    The noise of a sample depends on the seed and its name alone, and not on the batch in which it comes.

    Args:
        draws: outputs of each sample, at least 2. Thesis 5.3.2.2: 20.
        images: how many samples the picture shows.
        stochastic: names of the labels whose pixels vary in truth; hair and brows as far as they exist if None.
        share: of the samples that are measured, in (0, 1]; which ones depends on the seed and their names.
        seed: of the noise.
        validate: whether to measure in validation epochs too, and not in tests alone.

    Raises:
        UserError: ``draws`` or ``share`` out of range, or a label that the data do not have.
    """

    protocol = "noise_variation"
    presentation = Presentation(
        "Variation with the noise", NEUTRAL, {"Pearson": HIGHER, "Spearman": HIGHER}, ranked=False
    )

    def __init__(
        self,
        draws: Annotated[int, Bounds(least=2)] = 20,
        images: NonNegativeInt = 6,
        stochastic: list[str] | None = None,
        share: PositiveShare = 1.0,
        seed: AnyInt = 0,
        validate: bool = False,
    ):
        check_options(NoiseVariation, locals())
        super().__init__(validate)
        self.draws, self.images, self.stochastic = draws, images, stochastic
        self.share, self.seed = share, seed
        self._labels: tuple[str, ...] = ()
        self._shown: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._labels = tuple(getattr(getattr(trainer, "datamodule", None), "label_names", None) or ())
        if unknown := sorted(set(self.stochastic or ()) - set(self._labels)):
            raise UserError(f"stochastic={unknown} of NoiseVariation: the data have the labels {list(self._labels)}")

    @override
    def new_metric(self, key: Key) -> ImageMeans:
        return ImageMeans([*_FIGURES, *(f"std/{label}" for label in self._labels)])

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_test_epoch_start(trainer, pl_module)
        self._shown = []

    on_validation_epoch_start = on_test_epoch_start

    @override
    def update(self, trainer: Trainer, pl_module: LightningModule, generated: Generated, batch: Any) -> None:
        module = generator_of(self, pl_module)
        for index, name in enumerate(batch["name"]):
            if named_seed(self.seed, f"share of {name}") / 2**63 >= self.share:
                continue
            noise = torch.Generator().manual_seed(named_seed(self.seed, name))
            with generating(trainer):
                outputs = to_unit_range(module.generate(repeated(batch, index, self.draws), noise).image)
            deviation = outputs.std(0).mean(0)
            truth = batch["image"][index]
            figures = self._figures(deviation, one(batch, "labels", index), one(batch, "texture_std", index))
            self.metric(pl_module, "image", truth.shape[-2]).update({k: v[None] for k, v in figures.items()})
            if len(self._shown) < self.images:
                condition = shown_condition({k: one(batch, k, index)[None] for k in _inputs(batch)})[0]
                self._shown.append((condition, outputs[0].cpu(), deviation.cpu(), truth.float().cpu()))

    def _figures(self, deviation: Tensor, labels: Tensor | None, truth: Tensor | None) -> dict[str, Tensor]:
        """Return the figures of one sample, scalars, from maps (H, W)."""
        figures = {"std": deviation.mean()}
        if labels is not None and self._labels:
            figures |= {f"std/{name}": deviation[labels == k].mean() for k, name in enumerate(self._labels)}
            wanted = STOCHASTIC if self.stochastic is None else self.stochastic
            regions = [k for k, name in enumerate(self._labels) if name in wanted]
            inside = torch.isin(labels, labels.new_tensor(regions))
            outside = ~inside & (labels < len(self._labels))
            if inside.any() and outside.any():
                figures |= {"inside": deviation[inside].mean(), "outside": deviation[outside].mean()}
        if truth is not None:
            figures |= correlations(deviation, truth)
        return figures

    @override
    def rows(self, metrics: Metrics) -> list[Result]:
        rows = []
        for (method, size), metric in metrics.items():
            found = metric.compute()
            inside, outside = found.pop("inside"), found.pop("outside")
            for name, each in found.items():
                if each.count:
                    figure, _, label = name.partition("/")
                    value, error = float(each.value), float(each.standard_error)
                    rows.append(
                        Result(
                            self.protocol,
                            figure,
                            label or method,
                            image_size=size,
                            value=value,
                            standard_error=error,
                            count=each.count,
                        )
                    )
            if inside.count:
                ratio = float(inside.value / outside.value)  # NaN without any variation, infinite without any outside
                rows.append(
                    Result(
                        self.protocol,
                        "std ratio",
                        method,
                        image_size=size,
                        value=ratio,
                        standard_error=float("nan"),
                        count=inside.count,
                    )
                )
        return rows

    @override
    def finish(self, trainer: Trainer, pl_module: LightningModule, metrics: Metrics) -> None:
        if self._shown:
            save_variation(self._shown, Path(trainer.default_root_dir) / "pictures" / "noise_variation.png")
        self._shown = []


def correlations(deviation: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Return "Pearson" and "Spearman", correlations over the pixels of two maps (H, W); NaN if either is constant."""
    from scipy.stats import pearsonr, spearmanr

    maps = [each.double().flatten().cpu().numpy() for each in (deviation, truth)]
    if any(np.ptp(each) == 0 for each in maps):
        return {name: deviation.new_tensor(torch.nan) for name in ("Pearson", "Spearman")}
    return {
        "Pearson": torch.tensor(pearsonr(*maps).statistic, dtype=torch.float64),
        "Spearman": torch.tensor(spearmanr(*maps).statistic, dtype=torch.float64),
    }


def save_variation(
    samples: Sequence[tuple[Tensor, Tensor, Tensor, Tensor]], path: Path, compared: str = "truth"
) -> None:
    """Write a picture with a column a sample and the rows of Figure 5.8; the colours of all maps have one scale.

    Args:
        samples: condition, one output, standard deviation, and what the last row shows; pictures (3, h, w) in [0, 1]
            and a map (h, w).
        path: of a PNG.
        compared: title of the last row.
    """
    figure, panels = new_grid(4, len(samples))
    highest = max(float(deviation.max()) for _, _, deviation, _ in samples) or 1.0
    for column, (condition, output, deviation, truth) in zip(panels.T, samples, strict=True):
        for panel, image in zip(column[[0, 1, 3]], (condition, output, truth), strict=True):
            show(panel, image)
        drawn = column[2].imshow(deviation.numpy(), cmap="magma", vmin=0, vmax=highest)
    bar = figure.colorbar(drawn, ax=list(panels[2]), pad=0.01, fraction=0.03)
    bar.ax.tick_params(labelsize=7)
    for panel, title in zip(panels[:, 0], ("input", "one sample", "standard deviation", compared), strict=True):
        panel.set_title(title, fontsize=9, loc="left")
    save_figure(figure, path)


def one(batch: Mapping[str, Any], key: str, index: int) -> Any:
    """Return a sample's entry, None if the batch has none."""
    return batch[key][index] if key in batch else None


def _inputs(batch: Mapping[str, Any]) -> list[str]:
    return [key for key in ("labels", "condition") if key in batch]
