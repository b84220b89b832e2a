"""Translations of a user's own images, written to files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms
from typing_extensions import override

from callbacks.generation.evaluation import check_images
from callbacks.generation.noise_variation import save_variation
from callbacks.generation.pictures import new_grid, show, shown_condition, to_bytes
from callbacks.results.csv_files import write_csv
from callbacks.results.figures import save_figure
from callbacks.results.prediction_writer import PredictionWriter
from networks.generated import Generated, in_size_of, to_unit_range
from visionscapes.files import atomic_write

MOST = 12  # labels and styles in the overview
COLUMNS = ["name", "draws", "std", "largest std"]  # of translations.csv
_SIDE = 160  # pixels of a panel of the overview


class PairPictures(NamedTuple):
    """A label map in the style of an image, small pictures (3, h, w) in [0, 1].

    Attributes:
        name: "<label name>__<style name>".
        condition: what was translated.
        style: whose style it was given.
        image: the translation; of several the first.
        deviation: (1, h, w), the standard deviation of several; None of one.
    """

    name: str
    condition: Tensor
    style: Tensor
    image: Tensor
    deviation: Tensor | None = None


class WrittenPair(NamedTuple):
    """What is kept of a pair.

    Attributes:
        pictures: for the overview; None where there are too many pairs for one.
        draws: how many images were made.
        std: mean of `deviation_of`; NaN of one image.
        largest: its maximum.
    """

    pictures: PairPictures | None
    draws: int = 1
    std: float = float("nan")
    largest: float = float("nan")


class TranslationWriter(PredictionWriter):
    """Writes what ``predict_step`` returns, one PNG a pair: translations/<name>.png in the run folder, RGB of 8 bits.

    An image is as high and wide as the label map that it is made of, bicubic where the network's own size is another.
    With at most 12 labels and 12 styles also pictures/style_transfer.png: a label map a row and a style a column
    (thesis 5.5.4, Figure 5.13). Files appear when all pairs are done, in place of those of the same names from an
    earlier run.

    Where batches have "seeds" (B, N), which ``draws`` of the data ask for, <name>-0.png to <name>-<N - 1>.png, and
    how they vary: <name>-std.png, the standard deviation of every pixel (Figure 5.8), whose white is the largest of the
    picture, as the PNG's description and translations.csv in the run folder say, which also has the mean, one row a
    pair; and pictures/variation.png, of which all maps have one scale, for at most 12 pairs. Standard deviations are
    those of the files: unbiased, colours in [0, 1], the mean over the three.

    Raises:
        UserError: two pairs of one name, or a name that is no name of a file, before any file appears; a module whose
            ``predict_step`` returns no generated images.
    """

    needed = "generated images"
    remedy = "use it with a module that translates images"
    item = "translation"
    folder = "translations"
    clash = "give labels and styles names that differ without their folders and suffixes"

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, Generated)

    @override
    def write_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: Generated
    ) -> dict[str, WrittenPair]:
        check_images(self, outputs)
        draws = batch["seeds"].shape[1] if "seeds" in batch else None
        made = outputs.image.unflatten(0, (-1, draws or 1))
        conditions = shown_condition(batch)
        many = len(self._records) + len(made) > MOST**2  # too many for the overview: few pictures are kept or sent
        if many:
            for name in list(self._records)[MOST:]:
                self._records[name] = self._records[name]._replace(pictures=None)
        written = {}
        for index, (name, drawn) in enumerate(zip(batch["name"], made, strict=True)):
            images = to_bytes(to_unit_range(torch.stack([in_size_of(batch, index, each) for each in drawn]))).cpu()
            for number, image in enumerate(images):
                path = self.staged_path(trainer, name if draws is None else f"{name}-{number}", ".png")
                Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
            deviation = None if draws is None else deviation_of(images)
            record = WrittenPair(None)
            if deviation is not None:
                record = WrittenPair(None, len(images), std=float(deviation.mean()), largest=float(deviation.max()))
                save_deviation(deviation, len(images), self.staged_path(trainer, f"{name}-std", ".png"))
            if not many:
                condition = in_size_of(batch, index, conditions[index], smooth=False)
                pictures = PairPictures(
                    name,
                    condition=_small(condition),
                    style=_small(batch["style"][index].float().cpu()),
                    image=_small(images[0].float() / 255),
                    deviation=None if deviation is None else _small(deviation[None]),
                )
                record = record._replace(pictures=pictures)
            written[name] = record
        return written

    @override
    def conclude(self, trainer: Trainer, records: Mapping[str, WrittenPair]) -> str | None:
        if not records:
            return None
        folder = Path(trainer.default_root_dir)
        pairs = [each.pictures for each in records.values() if each.pictures is not None]
        if len(pairs) == len(records):
            save_overview(pairs, folder / "pictures" / "style_transfer.png")
        varied = {name: each for name, each in sorted(records.items()) if each.draws > 1}
        if not varied:
            return f"{len(records)} translations in {self.finished_folder(trainer)}"
        write_csv(folder / "translations.csv", COLUMNS, ([name, *each[1:]] for name, each in varied.items()))
        shown = [each.pictures for each in varied.values() if each.pictures is not None][:MOST]
        columns = [(each.condition, each.image, each.deviation[0], each.style) for each in shown]  # type: ignore[index]
        save_variation(columns, folder / "pictures" / "variation.png", compared="style")
        count, mean = (
            sum(each.draws for each in varied.values()),
            sum(each.std for each in varied.values()) / len(varied),
        )
        nothing = "" if any(each.largest for each in varied.values()) else ": those of a pair are equal, without noise"
        return (
            f"{count} translations in {self.finished_folder(trainer)}, their standard deviation is {mean:.4f}{nothing}"
        )


def deviation_of(images: Tensor) -> Tensor:
    """Return the standard deviation of every pixel over images, unbiased, the mean over the colours in [0, 1].

    Args:
        images: (N, 3, H, W) uint8, at least 2.

    Returns:
        (H, W) float32.
    """
    return (images.double() / 255).std(0).mean(0).float()


def save_deviation(deviation: Tensor, draws: int, path: Path) -> None:
    """Write a map (H, W) as a grey PNG, whose white is its largest value, as its description says."""
    largest = float(deviation.max())
    told = PngInfo()
    told.add_text(
        "Description", f"standard deviation over {draws} images, colours in [0, 1]; white is {largest:.6g}, black 0"
    )
    grey = to_bytes(deviation / largest if largest else deviation)
    with atomic_write(path) as file:
        Image.fromarray(grey.numpy()).save(file, "PNG", pnginfo=told)


def save_overview(pairs: Sequence[PairPictures], path: Path) -> None:
    """Write a picture with a label map a row and a style a column, if there are at most ``MOST`` of each.

    Args:
        pairs: of which none needs to be there; the part before the first "__" of a name is that of the label map.
        path: of a PNG.
    """
    labels = list(dict.fromkeys(pair.name.partition("__")[0] for pair in sorted(pairs)))
    styles = list(dict.fromkeys(sorted(pair.name.partition("__")[2] for pair in pairs)))
    if not pairs or max(len(labels), len(styles)) > MOST:
        return
    figure, panels = new_grid(1 + len(labels), 1 + len(styles), side=1.2)
    for pair in pairs:
        label, _, style = pair.name.partition("__")
        row, column = 1 + labels.index(label), 1 + styles.index(style)
        show(panels[row, 0], pair.condition)
        show(panels[0, column], pair.style)
        show(panels[row, column], pair.image)
    panels[0, 0].text(0.5, 0.5, "label maps ↓\nstyles →", ha="center", va="center", fontsize=9)
    save_figure(figure, path)


def _small(image: Tensor) -> Tensor:
    factor = min(1.0, _SIDE / max(image.shape[1:]))
    return transforms.resize(image, [max(1, round(side * factor)) for side in image.shape[1:]], antialias=True)
