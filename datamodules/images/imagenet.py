"""ImageNet-1k (ILSVRC2012) in the three layouts that circulate, with the labels everybody means."""

import csv
from collections.abc import Callable
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_warn
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import find_images
from datamodules.common.reports import listed
from datamodules.images.image_folder import Crop, ImageFolder, LabelledFiles
from datamodules.images.views import RandomViews
from visionscapes.checks import AnyInt, ImageSize, PositiveInt, PositiveShare, Workers, check_options
from visionscapes.errors import UserError, in_words

NAME = "ImageNet-1k (ILSVRC2012)"
SUFFIXES = (".jpeg", ".jpg")
COUNTS = {"training": 1_281_167, "validation": 50_000}
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
EXPECTED = f"""
<root>/train/n01440764/n01440764_10026.JPEG         one folder a class (WordNet id)
<root>/val/n01440764/ILSVRC2012_val_00000293.JPEG   the same; or flat, as in the archive:
<root>/val/ILSVRC2012_val_00000293.JPEG             which needs the labels of the devkit:
<root>/ILSVRC2012_devkit_t12/data/{{meta.mat,{GROUND_TRUTH}}}
or, as Kaggle packs it:
<root>/ILSVRC/Data/CLS-LOC/{{train,val}} with <root>/{{LOC_synset_mapping.txt,LOC_val_solution.csv}}
"""
REMEDIES = [
    "Give the folder that holds train/ and val/ as --data.init_args.root",
    "Obtain ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz from image-net.org "
    "(an account is needed), unpack them as above, and then each of the 1,000 class archives in train/: "
    'for f in *.tar; do mkdir "${f%.tar}" && tar -xf "$f" -C "${f%.tar}"; done',
]


class ImageNet(ImageFolder):
    """ImageNet-1k: the official training and validation parts, with labels.

    Batches are those of `ImageFolder` with "label" (B,) int64: the position of the class among the sorted WordNet ids,
    0 for n01440764 (tench), which is everybody's convention. The validation labels of the devkit follow another one,
    1-based ids in the order of meta.mat, and are translated. A subset of the classes works too: it is numbered within
    the 1,000 if the devkit or Kaggle's list is there, else within its own training folders.

    Args:
        root: see the error that a wrong one gives for the layouts. To predict, images of any other place will do, see
            `ImageFolder`.
        image_size: see `ImageFolder`, as all that follow.
        batch_size: images per process.
        num_workers: loading processes per training process.
        color_jitter: jitter the colours of the training images.
        crop: "squash" | "center" | "random".
        seed: of the order of training.
        predict_size: length of the longer side when predicting (the validation images).
        skip_unreadable: leave out files that cannot be read and say which, see `ImageFolder`.
        crop_area: range of the random crop's share of the image.
        flip: mirror every second training image.
        rand_augment: policy of RandAugment for the training images.
        views: training batches also hold "views".

    Raises:
        UserError: an argument out of its range.
        DatasetNotFoundError: in ``setup``, if images, classes or labels are missing.
    """

    upright = False  # the stored pixels are what everybody trains and evaluates on

    def __init__(
        self,
        root: str,
        image_size: ImageSize = 448,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 2,
        color_jitter: bool = True,
        crop: Crop = "squash",
        seed: AnyInt = 0,
        predict_size: ImageSize | None = 448,
        skip_unreadable: bool = False,
        crop_area: tuple[PositiveShare, PositiveShare] = (0.08, 1.0),
        flip: bool = False,
        rand_augment: str | None = None,
        views: RandomViews | None = None,
    ):
        check_options(ImageNet, locals())
        super().__init__(
            root,
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            color_jitter=color_jitter,
            crop=crop,
            val_fraction=0.0,
            seed=seed,
            predict_size=predict_size,
            skip_unreadable=skip_unreadable,
            crop_area=crop_area,
            flip=flip,
            rand_augment=rand_augment,
            views=views,
        )

    @override
    def parts(self, training: bool = True) -> tuple[LabelledFiles, LabelledFiles]:
        """Return the official parts; that of training is looked for if it is wanted or has to number the classes."""
        train, val = self._parts(training)
        return self.readable(train) if training else train, self.readable(val)

    def _parts(self, training: bool) -> tuple[LabelledFiles, LabelledFiles]:
        images = image_folder(self.root)
        classes = self._listed_classes()
        train = self._find(images / "train", "training") if training or not classes else []
        classes = classes or sorted({path.parent.name for path in train})
        self.class_names = classes
        rank = {wordnet_id: label for label, wordnet_id in enumerate(classes)}
        val = self._find(images / "val", "validation")
        class_of = folder_name if val[0].parent.name in rank else self._flat_labels()
        labelled = self._labelled(train, folder_name, rank), self._labelled(val, class_of, rank)
        return labelled if training else (LabelledFiles([]), labelled[1])

    @override
    def part_to_predict(self) -> LabelledFiles:
        """Return the validation images; of a ``root`` that is no ImageNet, all images that it names."""
        if not any((image_folder(self.root) / part).is_dir() for part in ("train", "val")):
            return self.all_files()
        return self._parts(training=False)[1]

    def _find(self, folder: Path, part: str) -> list[Path]:
        archives = sorted(folder.glob("*.tar")) if folder.is_dir() else []
        if archives:
            raise self._not_found(f"the content of {len(archives)} archives in {folder}, such as {archives[0].name}")
        paths = find_images(folder, SUFFIXES, name=NAME, expected=EXPECTED, remedies=REMEDIES)
        if len(paths) != COUNTS[part]:
            rank_zero_warn(f"ImageNet below {self.root}: {len(paths):,} {part} images of {COUNTS[part]:,}.")
        return paths

    def _not_found(self, missing: str) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name=NAME, looked_in=self.root, expected=EXPECTED, remedies=REMEDIES, missing=missing
        )

    def _labelled(self, paths: list[Path], class_of: Callable[[Path], str], rank: dict[str, int]) -> LabelledFiles:
        labels = [rank.get(class_of(path), -1) for path in paths]
        if -1 in labels:
            path = paths[labels.index(-1)]
            raise self._not_found(f"a known class for {path} ({class_of(path)} is none of the {len(rank)} classes)")
        return LabelledFiles(paths, labels)

    def _devkit(self) -> Path:
        return self.root / "ILSVRC2012_devkit_t12" / "data"

    def _listed_classes(self) -> list[str]:
        """Return the sorted WordNet ids of devkit or Kaggle's list; nothing if neither is there."""
        mapping = self.root / "LOC_synset_mapping.txt"
        if (self._devkit() / "meta.mat").is_file():
            return sorted(wordnet_ids(self._devkit() / "meta.mat").values())
        if mapping.is_file():
            return sorted(line.split()[0] for line in listed(mapping))
        return []

    def _flat_labels(self) -> Callable[[Path], str]:
        """Return what tells the WordNet id of a validation image whose folder does not."""
        solution, truth = self.root / "LOC_val_solution.csv", self._devkit() / GROUND_TRUTH
        if truth.is_file() and (self._devkit() / "meta.mat").is_file():
            ids = wordnet_ids(self._devkit() / "meta.mat")
            try:
                labels = [ids[int(number)] for number in listed(truth)]
            except (ValueError, KeyError) as error:
                raise UserError(
                    f"{truth} has to hold a number of a class a line ({in_words(error)}): copy it again"
                ) from error
            # Line k belongs to image k. The number in the name finds it in a subset as well, a position would not.
            by_stem = {f"ILSVRC2012_val_{k:08d}": label for k, label in enumerate(labels, 1)}
        elif solution.is_file():
            try:
                with solution.open(newline="") as file:
                    by_stem = {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
            except (ValueError, LookupError, AttributeError, csv.Error) as error:
                raise UserError(
                    f"{solution} is not Kaggle's table of labels ({in_words(error)}): copy it again"
                ) from error
        else:
            raise self._not_found(f"labels of the flat folder val: {truth} with meta.mat beside it, or {solution}")
        return lambda path: by_stem.get(path.stem, "a name without label")


def image_folder(root: Path) -> Path:
    """Return the folder that holds train/ and val/: ``root``, or one far below it in Kaggle's layout."""
    kaggle = root / "ILSVRC" / "Data" / "CLS-LOC"
    return kaggle if kaggle.is_dir() else root


def training_folder(root: Path) -> Path:
    """Return the folder that holds the class folders of the training part: ``root`` itself if it has no train/."""
    train = image_folder(root) / "train"
    return train if train.is_dir() else root


def folder_name(path: Path) -> str:
    """Return the WordNet id of an image in its class folder."""
    return path.parent.name


def wordnet_ids(meta: Path) -> dict[int, str]:
    """Return the WordNet id of every ILSVRC2012 id of the devkit's meta.mat; inner nodes of the tree are left out."""
    from scipy.io import loadmat

    synsets = loadmat(str(meta), squeeze_me=True)["synsets"]
    return {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets if int(synset["num_children"]) == 0}
