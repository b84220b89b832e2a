"""SPair-71k: pairs of images of one category with the keypoints that are visible in both."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.evaluation import EvaluationDataModule
from datamodules.common.file_names import refuse_escape
from datamodules.common.image_files import read_image
from datamodules.common.reports import compare_count, listed
from datamodules.common.resizing import letterbox, to_tensor
from visionscapes.checks import ImageSizes, NonNegativeInt, NumpySeed, PositiveInt, Workers, check_options
from visionscapes.errors import UserError, in_words

PUBLISHED_PAIRS = {"trn": 53_340, "val": 5_384, "test": 12_234}  # of the "large" layout
TREE = """
<root>/
    JPEGImages/<category>/2008_006481.jpg
    PairAnnotation/{trn,val,test}/<pair>.json
    Layout/{large,small}/{trn,val,test}.txt
"""
REMEDIES = (
    "If you have it, point to its folder: --data.init_args.root=<folder that holds JPEGImages>",
    "If not, download SPair-71k.tar.gz from the page of its authors (search for: SPair-71k, POSTECH), unpack it, and"
    " point to the folder SPair-71k",
)


@dataclass(frozen=True)
class KeypointPair:
    """One pair, in pixels of the original images.

    Attributes:
        name: of the annotation, as the layout file spells it.
        category: of both objects.
        images: file names of source and target.
        keypoints: (2, K, 2) xy, of source and target, in the same order; visible in both.
        target_box: xyxy.
    """

    name: str
    category: str
    images: tuple[str, str]
    keypoints: Tensor
    target_box: tuple[float, float, float, float]


class SPair71k(EvaluationDataModule):
    """SPair-71k for keypoint correspondence: batches of task "keypoints".

    Images are resized so that the longer side has S pixels and centred on a black S x S square, which is what the
    official LiFT code does (thesis section 8.3.1 names the protocol of Amir et al. and no more). A batch holds:

    * "source_image", "target_image": (B, 3, S, S) float32 RGB in [0, 1];
    * "source_keypoints", "target_keypoints": (B, K, 2) float32 xy in pixels of the S x S square, padded with zeros;
    * "keypoint_valid": (B, K) bool, False where padded;
    * "target_box_size": (B,) float32, the larger side of the target's box in pixels of the S x S square;
    * "category": (B,) int64, index into ``categories``; "pair": list of B names.

    Args:
        root: the folder that holds JPEGImages, PairAnnotation and Layout.
        split: "trn", "val" or "test".
        layout: "large" is the benchmark, "small" a part of it.
        image_sizes: S, one loader each, pixels.
        pairs_per_category: how many pairs of each category to draw; 0 takes all. The official code's default is 100,
            the thesis gives no number.
        sampling: how they are drawn: "distinct", or "official" with replacement. The official code goes through the
            categories in the order of the file system, so that even its own draws differ between machines; here they
            are sorted.
        seed: of the draw.
        batch_size: pairs a batch.
        num_workers: processes that load pairs.

    Raises:
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
        UserError: in ``setup``, if an annotation is damaged.
    """

    task = "keypoints"

    def __init__(
        self,
        root: str,
        split: Literal["trn", "val", "test"] = "test",
        layout: Literal["large", "small"] = "large",
        image_sizes: ImageSizes = [224],  # noqa: B006 (read only, and the help shows it)
        pairs_per_category: NonNegativeInt = 0,
        sampling: Literal["distinct", "official"] = "distinct",
        seed: NumpySeed = 0,
        batch_size: PositiveInt = 8,
        num_workers: Workers = 2,
    ):
        check_options(SPair71k, locals())
        super().__init__(image_sizes, batch_size, num_workers)
        self.root, self.split, self.layout = Path(root).expanduser(), split, layout
        self.pairs_per_category, self.sampling, self.seed = pairs_per_category, sampling, seed
        self.categories: list[str] = []
        self.pairs: list[KeypointPair] = []

    @override
    def setup(self, stage: str | None = None) -> None:
        """Read the annotations of the split."""
        if self.pairs:
            return
        pairs = read_pairs(self.root, self.split, self.layout)
        if self.layout == "large":
            compare_count(f"SPair-71k {self.split}", "pairs", len(pairs), PUBLISHED_PAIRS[self.split])
        self.categories = sorted({pair.category for pair in pairs})
        self.pairs = draw(pairs, self.pairs_per_category, self.sampling == "official", self.seed)

    @override
    def dataset(self, size: int) -> "SPairDataset":
        return SPairDataset(self.root / "JPEGImages", self.pairs, self.categories, size=size)

    @staticmethod
    @override
    def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Stack samples, with their keypoints padded to the largest number among them."""
        batch: dict[str, Any] = {"task": SPair71k.task, "pair": [sample["pair"] for sample in samples]}
        for key in ("source_keypoints", "target_keypoints", "keypoint_valid"):
            batch[key] = pad_sequence([sample[key] for sample in samples], batch_first=True)
        for key in ("source_image", "target_image", "target_box_size", "category"):
            batch[key] = torch.stack([sample[key] for sample in samples])
        return batch


class SPairDataset(Dataset):
    """The pairs at one image size; see ``SPair71k`` for what a sample holds."""

    def __init__(self, images: Path, pairs: list[KeypointPair], categories: list[str], size: int):
        self.images, self.pairs, self.categories, self.size = images, pairs, categories, size

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.pairs[index]
        sample: dict[str, Any] = {"pair": pair.name, "category": torch.tensor(self.categories.index(pair.category))}
        for side, name, keypoints in zip(("source", "target"), pair.images, pair.keypoints, strict=True):
            image, placement = letterbox(read_image(self.images / pair.category / name), self.size)
            sample[f"{side}_image"] = to_tensor(image)
            sample[f"{side}_keypoints"] = placement.points(keypoints)
        left, upper, right, lower = pair.target_box
        sample["target_box_size"] = torch.tensor(max(right - left, lower - upper) * placement.scale)
        sample["keypoint_valid"] = torch.ones(pair.keypoints.shape[1], dtype=torch.bool)
        return sample


def read_pairs(root: Path, split: str, layout: str) -> list[KeypointPair]:
    """Read the pairs that a layout file lists, in its order.

    The names of the annotations hold a colon ("000001-2008_006481-2008_007698:cat.json") that many copies of the
    data set have turned into an underscore; both are found. The category is read from the annotation, not the name.

    Args:
        root: the folder of the data set.
        split: "trn", "val" or "test".
        layout: "large" or "small".

    Raises:
        DatasetNotFoundError: a file or folder is missing.
        UserError: a file is no annotation of the released data set.
    """

    def not_found(path: Path) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name="SPair-71k", looked_in=root, expected=TREE, remedies=REMEDIES, missing=path.relative_to(root)
        )

    layout_file, annotations = root / "Layout" / layout / f"{split}.txt", root / "PairAnnotation" / split
    for path in (root / "JPEGImages", annotations, layout_file):
        if not path.exists():
            raise not_found(path)
    files = {path.stem.replace(":", "_"): path for path in sorted(annotations.glob("[!.]*.json"))}
    pairs = []
    for name in listed(layout_file):
        if name.replace(":", "_") not in files:
            raise not_found(annotations / f"{name}.json")
        path = files[name.replace(":", "_")]
        pairs.append(read_pair(name, path))
    if not pairs:
        raise not_found(layout_file)
    return pairs


def read_pair(name: str, path: Path) -> KeypointPair:
    """Read the annotation of one pair.

    Args:
        name: of the pair, as the layout file spells it.
        path: of the JSON file.

    Raises:
        UserError: the file is no annotation of SPair-71k, or one of mirrored images, which the release does not have.
    """
    try:
        annotation = json.loads(path.read_text())
        keypoints = torch.tensor([annotation["src_kps"], annotation["trg_kps"]], dtype=torch.float32).view(2, -1, 2)
        images = annotation["src_imname"], annotation["trg_imname"]
        pair = KeypointPair(
            name, annotation["category"], images, keypoints=keypoints, target_box=tuple(annotation["trg_bndbox"])
        )
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{path} is no annotation of SPair-71k ({in_words(error)}): unpack the data set again"
        ) from error
    refuse_escape((f"{pair.category}/{name}" for name in pair.images), path)
    if annotation.get("mirror"):
        raise UserError(f"{path} is about mirrored images; get the released SPair-71k, where no pair is")
    return pair


def draw(pairs: list[KeypointPair], per_category: int, with_replacement: bool, seed: int) -> list[KeypointPair]:
    """Draw pairs of every category.

    Args:
        pairs: of all categories.
        per_category: how many to draw; 0 takes all, and without replacement there are no more than there are.
        with_replacement: as the official code draws.
        seed: of numpy's legacy generator, which is the official code's.

    Returns:
        The drawn pairs by category in alphabetical order, or ``pairs`` as they are for 0.
    """
    if per_category <= 0:
        return pairs
    generator = np.random.RandomState(seed)
    drawn = []
    for category in sorted({pair.category for pair in pairs}):
        of_category = [pair for pair in pairs if pair.category == category]
        count = per_category if with_replacement else min(per_category, len(of_category))
        chosen = generator.choice(len(of_category), count, replace=with_replacement)
        drawn += [of_category[index] for index in chosen]
    return drawn
