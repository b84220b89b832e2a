"""Translations of a user's own images, written to files."""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from callbacks.generation.pictures import new_grid, show, shown_condition, to_bytes
from callbacks.results.figures import save_photographs
from networks.generated import Generated, to_unit_range
from visionscapes.errors import UserError
from visionscapes.processes import gather_objects

MOST = 12  # labels and styles in the overview
_SIDE = 160  # pixels of a panel of the overview


class Pair(NamedTuple):
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


class TranslationWriter(Callback):
    """Writes what ``predict_step`` returns, one PNG a pair: translations/<name>.png in the run folder, RGB of 8 bits.

    With at most 12 labels and 12 styles also pictures/style_transfer.png: a label map a row and a style a column
    (thesis 5.5.4, Figure 5.13). Files appear when all pairs are done, in place of those of the same names from an
    earlier run.

    Raises:
        UserError: two pairs of one name, or a name that is no name of a file, before any file appears; a module whose
            ``predict_step`` returns no generated images.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._pairs: list[Pair] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        self._names, self._pairs = [], []
        trainer.predict_loop.return_predictions = False
        if trainer.is_global_zero:
            shutil.rmtree(_unfinished(trainer), ignore_errors=True)  # of a run that was interrupted
        trainer.strategy.barrier()

    def on_predict_batch_end(  # noqa: D102
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(batch, Mapping) or batch.get("task") != "predict":
            return
        if not isinstance(outputs, Generated):
            raise UserError(
                f"TranslationWriter needs generated images, which {type(pl_module).__name__} does not predict: use it "
                "with a module that translates images, or leave the callback out"
            )
        check_names(batch["name"], self._names)
        self._names += batch["name"]
        images = to_unit_range(outputs.image).cpu()
        folder = _unfinished(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in zip(batch["name"], to_bytes(images), strict=True):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{name}.png")
        if len(self._names) <= MOST**2:
            styles = batch["style"].float().cpu()
            for name, *pictures in zip(batch["name"], shown_condition(batch), styles, images, strict=True):
                self._pairs.append(Pair(name, *(_small(picture) for picture in pictures)))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold the names of all processes together, and let the files appear if they differ."""
        gathered = gather_objects(self._names), gather_objects(self._pairs if len(self._names) <= MOST**2 else [])
        names, pairs = (list(chain.from_iterable(parts)) for parts in gathered)
        self._names, self._pairs = [], []
        try:
            check_names(names, [])
            trainer.strategy.barrier()
            if trainer.is_global_zero and names:
                finished = _finished(trainer)
                finished.mkdir(parents=True, exist_ok=True)
                for name in names:
                    (_unfinished(trainer) / f"{name}.png").replace(finished / f"{name}.png")
                if len(pairs) == len(names):
                    save_overview(pairs, Path(trainer.default_root_dir) / "pictures" / "style_transfer.png")
                print(f"{len(names)} translations in {finished}")
        finally:
            if trainer.is_global_zero:
                shutil.rmtree(_unfinished(trainer), ignore_errors=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take away what was begun."""
        if trainer.predicting and trainer.is_global_zero:
            shutil.rmtree(_unfinished(trainer), ignore_errors=True)


def check_names(names: Sequence[str], earlier: Sequence[str]) -> None:
    """Check that every pair gets a file of its own.

    Args:
        names: of pairs.
        earlier: names that are taken.

    Raises:
        UserError: two are the same, also where only upper and lower case differ, which are one file on some machines,
            or one is no name of a file.
    """
    for name in names:
        if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
            raise UserError(f"'{name}' is no name of a file to write a translation to: rename the image")
    counts = Counter(name.casefold() for name in chain(earlier, names))
    if twice := [name for name in names if counts[name.casefold()] > 1]:
        raise UserError(
            f"{len(twice)} translations would share a file, such as '{twice[0]}.png': give labels and styles names "
            "that differ without their folders and suffixes"
        )


def save_overview(pairs: Sequence[Pair], path: Path) -> None:
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


def _finished(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / "translations"


def _unfinished(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / "translations.part"
