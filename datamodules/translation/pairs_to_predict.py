"""Pairs that ``predict`` makes images of: label maps or conditions with styles (thesis section 5.5.4), and draws."""

from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.evaluation import Stacked
from datamodules.common.image_files import read_image
from datamodules.common.inputs import Inputs
from datamodules.common.label_maps import read_labels
from datamodules.translation.given import GivenPairs
from datamodules.translation.pair_files import find_pairs, names_of_their_own
from datamodules.translation.pictures import image_tensor, placed
from visionscapes.seeding import named_seed

SUBJECTS = 10  # whose label maps and images are combined in thesis section 5.5.4
SOURCES_AND_STYLES = """
<{option}>/a.png      ({things})
<{option}>/b.png
<styles>/c.jpg
or a single picture, a pattern in quotes such as 'styles/**/*.jpg', or a list of these, for either
"""


class PairsToPredict(Dataset):
    """Every label map, or condition picture, with every style image (thesis section 5.5.4): samples to predict.

    Samples hold "labels" (S, S) uint8 or "condition" (C, S, S) float32 in [0, 1], "style" (3, S, S) float32 RGB in
    [0, 1], "name", "<name of the label map>__<name of the style>", and "size" (2,) and "window" (4,), with which an
    image gets the size of the label map, see ``datamodules.translation.pictures.placed``. All pairs of a label map
    follow each other.

    Attributes:
        files: number of label maps and style images.
        root: the folder of the label maps; None if they have none in common.

    Args:
        labels: the label maps, or the condition pictures if ``classes`` is None: a folder, a file, a pattern, or a list
            of these.
        styles: the style images likewise; one is enough.
        image_size: S in pixels; all pictures are squashed to squares.
        classes: number of labels; None for condition pictures.
        channels: C, 1 or 3; of condition pictures.
        ignore_label: see ``pairs.TranslationData``.
        keep_aspect: see ``pairs.TranslationData``.

    Raises:
        DatasetNotFoundError: there is no such file, or a folder holds no image.
        UserError: when a sample is read, a file that cannot be used.
    """

    def __init__(
        self,
        labels: Inputs | Path,
        styles: Inputs | Path,
        image_size: int,
        classes: int | None,
        channels: Literal[1, 3] = 3,
        *,
        ignore_label: int | None = None,
        keep_aspect: bool = False,
    ):
        self.prepared = GivenPairs(image_size, classes, channels, ignore_label=ignore_label, keep_aspect=keep_aspect)
        option, things = ("conditions", "condition pictures") if classes is None else ("labels", "label maps")
        expected = SOURCES_AND_STYLES.format(option=option, things=things)
        found = find_pairs(labels, option, things, expected)
        self.root = found.root
        self.sources = list(zip(names_of_their_own(found), found.paths, strict=True))
        found = find_pairs(styles, "styles", "style images", expected)
        self.styles = list(zip(names_of_their_own(found), found.paths, strict=True))
        self.files = len(self.sources) + len(self.styles)

    def __len__(self) -> int:
        return len(self.sources) * len(self.styles)

    def __getitem__(self, index: int) -> dict[str, Any]:
        source, style = divmod(index, len(self.styles))
        (source_name, source_path), (style_name, style_path) = self.sources[source], self.styles[style]
        return {
            **self._source(source_path),
            "style": image_tensor(read_image(style_path, upright=True), self.prepared.image_size),
            "name": f"{source_name}__{style_name}",
        }

    def _source(self, path: Path) -> dict[str, Tensor]:
        classes, ignored = self.prepared.classes, self.prepared.ignore_label
        if classes is None:
            return self.prepared.of_condition(read_image(path))
        return self.prepared.of_labels(read_labels(path, classes, ignored))

    collate = staticmethod(Stacked("predict"))


@runtime_checkable
class SizedPairs(Protocol):
    """Pairs whose label maps or conditions have sizes of their own."""

    def size_of(self, position: int) -> tuple[int, int]:
        """Return width and height in pixels of the label map or condition of a pair, as stored."""


class AllPairs(Dataset):
    """The label map or condition of each of the first pairs with the image of each as style: samples to predict.

    Args:
        pairs: samples with "image", "name" and "labels" or "condition"; where they say the width and height in pixels
            of the label map or condition of a pair, ``size_of(position)``, images get this size.
        count: how many of them, at most.
    """

    def __init__(self, pairs: Dataset, count: int = SUBJECTS):
        self.pairs, self.count = pairs, min(count, len(pairs))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.count**2

    def __getitem__(self, index: int) -> dict[str, Any]:
        places = divmod(index, self.count)
        source, style = (self.pairs[each] for each in places)
        kept = {key: source[key] for key in ("labels", "condition") if key in source}
        if isinstance(self.pairs, SizedPairs):
            kept |= placed(*self.pairs.size_of(places[0]), style["image"].shape[-1], keep_aspect=False)
        return {**kept, "style": style["image"], "name": f"{source['name']}__{style['name']}"}


class Seeded(Stacked):
    """Makes batches to predict of which every pair has "seeds" (N,) int64, each of one draw of the noise.

    Args:
        draws: N.
        seed: of the noise; a seed depends on it, on the name of the pair and on the number of the draw alone.
    """

    def __init__(self, draws: int, seed: int):
        super().__init__("predict")
        self.draws, self.seed = draws, seed

    @override
    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = super().__call__(samples)
        seeds = [[named_seed(self.seed, f"draw {k} of {name}") for k in range(self.draws)] for name in batch["name"]]
        return batch | {"seeds": torch.tensor(seeds)}
