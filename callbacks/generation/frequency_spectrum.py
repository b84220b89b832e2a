"""Which spatial frequencies generated images and their parts hold, against the true images."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from callbacks.generation.evaluation import GenerationEvaluation, Key, Metrics
from callbacks.results.csv_files import write_csv
from callbacks.results.figures import PALETTE, new_figure, save_figure
from callbacks.results.presentation import LOWER, NEUTRAL, Presentation
from callbacks.results.result import Result
from metrics.power_spectrum import (
    PowerSpectrum,
    Spectrum,
    coefficients,
    log_distance,
    upper_half,
    upper_share,
)
from networks.generated import Generated, to_unit_range
from visionscapes.checks import check_options
from visionscapes.errors import UserError

TRUTH, GAN_RESIDUAL = "truth", "residual"
# The colours of Figure 5.10 by name, in shades that remain apart for colour-blind readers.
_COLOURS = {TRUTH: PALETTE[3], "image": PALETTE[6], "reconstruction": PALETTE[1], GAN_RESIDUAL: PALETTE[5]}
COLUMNS = ("curve", "image_size", "radius", "frequency", "coefficients", "power", "deviation")


class FrequencySpectrum(GenerationEvaluation):
    """Power spectra of true and generated images and of their parts, averaged over directions (Figure 5.10).

    Protocol "spectrum", methods "truth", "image" and the names of the parts; see ``metrics.power_spectrum``. All
    are in units in which colours are in [0, 1]; the image is clamped to them, parts are not, and none is rounded.
    "power share upper half" is the share of the power above half of the Nyquist frequency; "power upper half" the mean
    of the curve there, "power lower half" that below it, without the mean colour; "distance" and "distance upper half"
    the mean absolute difference of the decadic logarithms of the curve and that of the truth, from one period an image
    on and above half of the Nyquist frequency.
    Also writes results/spectrum_curves.csv and pictures/frequency_spectrum.png.

    Args:
        validate: whether to measure in validation epochs too, and not in tests alone.

    Raises:
        UserError: images that are not square.
    """

    protocol = "spectrum"
    takes_videos = True
    presentation = Presentation("Frequency spectrum", NEUTRAL, {"distance": LOWER}, ranked=False)

    def __init__(self, validate: bool = False):
        check_options(FrequencySpectrum, locals())
        super().__init__(validate)

    @override
    def new_metric(self, key: Key) -> PowerSpectrum:
        return PowerSpectrum(key[1])

    @override
    def update(self, trainer: Trainer, pl_module: LightningModule, generated: Generated, batch: Any) -> None:
        truth = batch["image"]
        height, width = truth.shape[-2:]
        if height != width:
            raise UserError(f"FrequencySpectrum takes square images, not {width}x{height}: leave the callback out")
        curves = {TRUTH: truth, "image": to_unit_range(generated.image)}
        for name, part in generated.parts.items():
            curves[name] = part.float() / 2 if name == GAN_RESIDUAL else (part.float() + 1) / 2
        for name, images in curves.items():
            self.metric(pl_module, name, height).update(images)

    @override
    def rows(self, metrics: Metrics) -> list[Result]:
        spectra = _spectra(metrics)
        rows = []
        for (method, size), spectrum in spectra.items():
            power, upper = spectrum.power.cpu(), upper_half(size)
            figures = {"power share upper half": upper_share(power, size), "power upper half": power[upper].mean()}
            figures["power lower half"] = power[1:][~upper[1:]].mean()
            if method != TRUTH:
                truth = spectra[TRUTH, size].power.cpu()
                figures["distance"] = log_distance(power[1:], truth[1:])
                figures["distance upper half"] = log_distance(power[upper], truth[upper])
            rows += [
                Result(
                    self.protocol,
                    name,
                    method,
                    image_size=size,
                    value=float(value),
                    standard_error=float("nan"),
                    count=spectrum.count,
                )
                for name, value in figures.items()
            ]
        return rows

    @override
    def finish(self, trainer: Trainer, pl_module: LightningModule, metrics: Metrics) -> None:
        folder, spectra = Path(trainer.default_root_dir), _spectra(metrics)
        write_csv(folder / "results" / "spectrum_curves.csv", COLUMNS, _lines(spectra))
        save_figure(draw(spectra), folder / "pictures" / "frequency_spectrum.png")


def _spectra(metrics: Metrics) -> dict[Key, Spectrum]:
    return {key: metric.compute() for key, metric in metrics.items()}


def _lines(spectra: dict[Key, Spectrum]) -> list[list[Any]]:
    lines: list[list[Any]] = []
    for (name, size), spectrum in spectra.items():
        columns = coefficients(size).tolist(), spectrum.power.tolist(), spectrum.deviation.tolist()
        for radius, (count, power, deviation) in enumerate(zip(*columns, strict=True)):
            lines.append([name, size, radius, radius / (size // 2), count, power, deviation])
    return lines


def draw(spectra: dict[Key, Spectrum]) -> Any:
    """Return the figure of all curves, a panel a size of images, from one period an image on."""
    sizes = list(dict.fromkeys(size for _, size in spectra))
    figure = new_figure(5.2 * len(sizes), 3.8)
    others = iter([PALETTE[4], PALETTE[7], PALETTE[2]] * len(spectra))
    colours = {name: _COLOURS[name] if name in _COLOURS else next(others) for name, _ in spectra}
    for panel, size in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
        frequency = torch.arange(size // 2 + 1) / (size // 2)
        for (name, side), spectrum in spectra.items():
            if side == size:
                power = spectrum.power.cpu().clamp(min=1e-12)
                style = "--" if name == TRUTH else "-"
                panel.semilogy(frequency[1:], power[1:], style, color=colours[name], label=name, linewidth=1.6)
        panel.set_xlabel("frequency / Nyquist frequency")
        panel.set_ylabel("spectral power")
        panel.set_title(f"{next(iter(spectra.values())).count} images of {size}×{size} pixels", fontsize=9)
        panel.set_xlim(0, 1)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, fontsize=9)
    return figure
