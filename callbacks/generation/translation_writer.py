"""Translations of a user's own images, written to files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms
from typing_extensions import override

from callbacks.generation.evaluation import check_images
from callbacks.generation.pictures import new_grid, show, shown_condition, to_bytes
from callbacks.results.figures import save_photographs
from callbacks.results.prediction_writer import PredictionWriter
from networks.generated import Generated, to_unit_range

MOST = 12  # labels and styles in the overview
_SIDE = 160  # pixels of a panel of the overview


class PairPictures(NamedTuple):
    """A label map in the style of an image, small pictures (3, h, w) in [0, 1].

    Attributes:
        name: "<label name>__<style name>".
        condition: what was translated.
        style: whose style it was given.
        image: the translation.
    """

    name: str
    condition: Tensor
    style: Tensor
    image: Tensor


class TranslationWriter(PredictionWriter):
    """Writes what ``predict_step`` returns, one PNG a pair: translations/<name>.png in the run folder, RGB of 8 bits.

    With at most 12 labels and 12 styles also pictures/style_transfer.png: a label map a row and a style a column
    (thesis 5.5.4, Figure 5.13). Files appear when all pairs are done, in place of those of the same names from an
    earlier run.

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
    ) -> dict[str, PairPictures | None]:
        check_images(self, outputs)
        names: list[str] = batch["name"]
        paths = [self.staged_path(trainer, name, ".png") for name in names]
        images = to_unit_range(outputs.image).cpu()
        for path, image in zip(paths, to_bytes(images), strict=True):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
        if len(self._staged) > MOST**2:  # too many for the overview: no picture is kept or sent
            self._records = dict.fromkeys(self._records)
            return dict.fromkeys(names)
        columns = (shown_condition(batch), batch["style"].float().cpu(), images)
        small = ([_small(picture) for picture in pictures] for pictures in zip(*columns, strict=True))
        return {name: PairPictures(name, *pictures) for name, pictures in zip(names, small, strict=True)}

    @override
    def conclude(self, trainer: Trainer, records: Mapping[str, PairPictures | None]) -> str | None:
        if not records:
            return None
        pairs = [pair for pair in records.values() if pair is not None]
        if len(pairs) == len(records):
            save_overview(pairs, Path(trainer.default_root_dir) / "pictures" / "style_transfer.png")
        return f"{len(records)} translations in {self.finished_folder(trainer)}"


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
    save_photographs(figure, path)


def _small(image: Tensor) -> Tensor:
    factor = min(1.0, _SIDE / max(image.shape[1:]))
    return transforms.resize(image, [max(1, round(side * factor)) for side in image.shape[1:]], antialias=True)
