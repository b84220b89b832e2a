"""Images with captions, to train on pairs of image and text."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.file_names import refuse_escape
from datamodules.common.inspection.contents import PartContents
from datamodules.common.reports import first_names, report_left_out
from datamodules.common.resizing import squash, to_tensor
from datamodules.images.image_folder import ImageFiles, ImageFolder, LabelledFiles
from visionscapes.checks import AnyInt, ImageSize, PositiveInt, ShareBelowOne, Workers, check_options
from visionscapes.errors import UserError

NAME = "The folder of images and captions"
FILES = ("captions.tsv", "captions.csv", "captions.jsonl")
TREE = """
<root>/
    captions.tsv            a line "path<tab>caption", then one line for every pair; or
    captions.csv            the same with commas, quoted where a caption holds one; or
    captions.jsonl          {"path": "photos/1.jpg", "caption": "a dog on a beach"} on every line
    photos/1.jpg            the paths of the captions start at <root>
"""
REMEDIES = (
    "Give the folder that holds the file of captions as --data.init_args.root",
    "Name the file with --data.init_args.captions=<file, in the folder or with its whole path>, and its two columns"
    " with --data.init_args.path_column and --data.init_args.caption_column if they are called otherwise",
)


class ImageCaptions(ImageFolder):
    """Images with captions, to train CLIP (thesis section 2.7.1): batches of task "images".

    A batch holds "image" (B, 3, S, S) float32 RGB in [0, 1], "caption", B strings, "index" (B,) int64, the place among
    the images of the part, and "label" (B,) int64, -1, as there are no classes. An image with several captions is one
    sample: training draws one of them every time, validation takes the first.

    The one augmentation is CLIP's, a random square of the image whose shorter side is resized to S (bicubic);
    validation takes the middle one. An image that is square already is hence never changed.

    Pairs whose image is missing, or whose caption is empty, are left out, and it is said how many.

    Args:
        root: the folder of the images, and of the captions unless ``captions`` has a whole path. To predict, images
            without captions will do, see `ImageFolder`.
        captions: the file: .tsv, .csv or .jsonl. Null takes captions.tsv, captions.csv or captions.jsonl, whichever
            there is. In a .tsv, quotes are ordinary characters.
        image_size: S, pixels.
        batch_size: images per process.
        num_workers: loading processes per training process.
        val_fraction: in [0,1), the part that is held out for validation, see `ImageFolder`.
        seed: of the order of training, crops and captions, and of the held-out part.
        path_column: the column, or key, of the image's path.
        caption_column: the column, or key, of the caption.
        predict_size: length of the longer side in pixels when predicting, see `ImageFolder`.
        skip_unreadable: decode every file once at the start and leave out those that cannot be read.

    Raises:
        UserError: an argument out of its range; in ``setup``, a file of captions that cannot be read as one.
        DatasetNotFoundError: in ``setup``, if the captions or all their images are missing.
    """

    def __init__(
        self,
        root: str,
        captions: str | None = None,
        image_size: ImageSize = 224,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 2,
        val_fraction: ShareBelowOne = 0.05,
        seed: AnyInt = 0,
        path_column: str = "path",
        caption_column: str = "caption",
        predict_size: ImageSize | None = 448,
        skip_unreadable: bool = False,
    ):
        check_options(ImageCaptions, locals())
        super().__init__(
            root,
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            color_jitter=False,
            val_fraction=val_fraction,
            seed=seed,
            predict_size=predict_size,
            skip_unreadable=skip_unreadable,
        )
        self.captions_file = captions
        self.path_column, self.caption_column = path_column, caption_column
        self.captions: dict[Path, list[str]] = {}

    @override
    def setup(self, stage: str) -> None:
        self.captions = {}
        if stage == "predict":
            super().setup(stage)
            return
        train, val = self.parts(training=stage == "fit")
        self.train_set = CaptionedFiles(train, self.captions, self.image_size, upright=self.upright, training=True)
        self.val_set = CaptionedFiles(val, self.captions, self.image_size, upright=self.upright, training=False)

    @override
    def part_to_predict(self) -> LabelledFiles:
        """Return the images that have a caption; of a ``root`` without captions, all images that it names."""
        if self.captions_file is None and not any((self.root / name).is_file() for name in FILES):
            return super().all_files()
        return self.all_files()

    @override
    def all_files(self) -> LabelledFiles:
        """Return the images that have a caption."""
        file = self._file()
        pairs = list(read_captions(file, self.path_column, self.caption_column))
        refuse_escape((path for path, _ in pairs), file)
        captions: dict[Path, list[str]] = {}
        for path, caption in pairs:
            captions.setdefault(self.root / path, [])
            captions[self.root / path] += [caption] if caption else []
        empty = sum(not caption for _, caption in pairs)
        report_left_out(NAME, empty, "pairs", len(pairs), "they have no caption")
        absent = sorted(path for path in captions if not path.is_file())
        report_left_out(
            NAME, len(absent), "images", len(captions), f"they are missing, {first_names(absent, self.root)}"
        )
        missing = set(absent)
        self.captions = {path: texts for path, texts in captions.items() if texts and path not in missing}
        if not self.captions:
            found = f"any of the {first_names(absent, self.root)}" if absent else "a line with a caption"
            raise self._not_found(f"{found} ({file})")
        return LabelledFiles(sorted(self.captions))

    @override
    def contents(self) -> dict[str, PartContents]:
        """Return the files of both parts, and how many captions they have."""
        parts = super().contents()
        for name, part in parts.items():
            captions = [self.captions[Path(path)] for path in part.names]
            words = [len(caption.split()) for each in captions for caption in each]
            told = {"captions": len(words), "words of a caption, mean": round(float(np.mean(words)), 1)}
            parts[name] = replace(part, described=told)
        return parts

    def _file(self) -> Path:
        if self.captions_file is not None:
            file = self.root / Path(self.captions_file).expanduser()
            if file.is_file():
                return file
            raise self._not_found(str(file))
        found = [name for name in FILES if (self.root / name).is_file()]
        if len(found) > 1:
            raise UserError(
                f"{self.root} holds {' and '.join(found)}: say which one counts, --data.init_args.captions={found[0]}"
            )
        if not found:
            raise self._not_found(f"one of {', '.join(FILES)}")
        return self.root / found[0]

    def _not_found(self, missing: str) -> DatasetNotFoundError:
        return DatasetNotFoundError(name=NAME, looked_in=self.root, expected=TREE, remedies=REMEDIES, missing=missing)


class CaptionedFiles(ImageFiles):
    """Image files with captions as samples of the task "images"; see `ImageCaptions` for what a sample holds.

    Args:
        part: the files.
        captions: of every file, at least one each.
        size: S, pixels.
        upright: see `datamodules.common.image_files.read_image`.
        training: crop at random and draw a caption; else the middle and the first one.
    """

    def __init__(self, part: LabelledFiles, captions: dict[Path, list[str]], size: int, upright: bool, training: bool):
        super().__init__(part, self._square, upright)
        self.captions, self.size, self.training = captions, size, training

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = super().__getitem__(index)
        texts = self.captions[self.paths[index]]
        place = int(torch.randint(len(texts), ())) if self.training else 0
        return sample | {"label": -1, "caption": texts[place]}

    def _square(self, image: Image.Image) -> Tensor:
        # Cut out first and resized then, which shows the same, as a 1 x 10,000 image would become huge otherwise.
        side = min(image.size)
        spare = max(image.size) - side
        start = int(torch.randint(spare + 1, ())) if self.training else spare // 2
        left, top = (start, 0) if image.width > image.height else (0, start)
        square = image.crop((left, top, left + side, top + side))
        return to_tensor(squash(square, self.size, Image.Resampling.BICUBIC))


def read_captions(file: Path, path_column: str, caption_column: str) -> Iterator[tuple[str, str]]:
    """Read pairs of an image's path and a caption, without the blanks around them.

    Args:
        file: .tsv, .csv or .jsonl, in UTF-8.
        path_column: the column, or key, of the path.
        caption_column: the column, or key, of the caption, which may be empty.

    Raises:
        UserError: another kind of file, a missing column, or a line that cannot be read.
    """
    suffix = file.suffix.lower()
    if suffix not in (".tsv", ".csv", ".jsonl"):
        raise UserError(f"{file} is no file of captions that can be read: give a .tsv, .csv or .jsonl file")
    number = 0
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows: Iterator[dict[str, Any]]
            if suffix == ".jsonl":
                rows = (json.loads(line) for line in lines if line.strip())
            elif suffix == ".tsv":
                rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            else:
                rows = csv.DictReader(lines)
            for number, row in enumerate(rows, 1):
                _check_columns(file, number, row, (path_column, caption_column))
                yield str(row[path_column]).strip(), str(row[caption_column]).strip()
    except (ValueError, csv.Error) as error:
        raise UserError(f"{file} cannot be read after {number} pairs ({error}): mend or remove that line") from error


def _check_columns(file: Path, number: int, row: Any, columns: Sequence[str]) -> None:
    """Raise a UserError if a row lacks one of the columns, or its value."""
    names = list(row) if isinstance(row, dict) else []
    absent = [column for column in columns if column not in names]
    if absent:
        raise UserError(
            f"pair {number} of {file} has no {' and no '.join(absent)}, only {', '.join(map(str, names)) or 'nothing'}:"
            " name the columns with --data.init_args.path_column and --data.init_args.caption_column"
        )
    short = [column for column in columns if row[column] is None]
    if short:
        raise UserError(f"pair {number} of {file} lacks its {' and '.join(short)}: mend or remove that line")
