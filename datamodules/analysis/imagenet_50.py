"""ImageNet-50: a hundred images of each of fifty classes, on which chapter 2 looks at attention and features."""

from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch.utils.data import Dataset, Subset
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.evaluation import EvaluationDataModule
from datamodules.common.image_files import find_images
from datamodules.common.reports import compare_count
from datamodules.common.resizing import centre_square_tensor
from datamodules.images.image_folder import ImageFiles, LabelledFiles
from datamodules.images.imagenet import REMEDIES, SUFFIXES, training_folder
from visionscapes.checks import AnyInt, ImageSize, PositiveInt, Workers, check_options

# The list of the official code, the fifty classes of Van Gansbeke et al. (SCAN, 2020); the label is the line, from 0.
CLASSES = """
n01601694 Dipper
n01669191 Box Turtle
n01755581 Diamondback Snake
n01770393 Scorpion
n01855672 Goose
n02018207 Water Hen
n02058221 Albatross
n02096177 Cairn Terrier
n02097130 Giant Schnauzer
n02099267 Flat-Coated Retriever
n02100877 Irish Setter
n02104365 Schipperke
n02106030 Collie
n02114855 Coyote
n02125311 Mountain Lion
n02133161 Black Bear
n02484975 Guenon
n02489166 Proboscis Monkey
n02747177 Trash Bin
n02906734 Broom
n03124170 Cowboy Hat
n03272010 Electric Guitar
n03337140 File Cabinet
n03483316 Hair Dryer
n03498962 Hatchet
n03710721 Maillot
n03717622 Manhole Cover
n03733281 Maze
n03759954 Microphone
n03775071 Mitten
n03814639 Neck Brace
n03837869 Obelisk
n03838899 Oboe
n03854065 Organ
n03954731 Woodworking Plane
n03983396 Soda Bottle
n04026417 Purse
n04200800 Shoe Shop
n04209239 Shower Curtain
n04311004 Steel Arch Bridge
n04380533 Table Lamp
n04428191 Threshing Machine
n04443257 Tobacco Shop
n04509417 Unicycle
n04525305 Vending Machine
n04554684 Washing Machine
n04606251 Wreck
n07583066 Guacamole
n07711569 Mashed Potato
n07753592 Banana
"""
WORDNET_IDS = [line.split()[0] for line in CLASSES.strip().splitlines()]
NAMES = [line.split(maxsplit=1)[1] for line in CLASSES.strip().splitlines()]
EXPECTED = """
<root>/train/n01601694/n01601694_10.JPEG            one folder for each of the 50 classes, from n01601694 (Dipper)
<root>/train/n07753592/n07753592_10.JPEG            to n07753592 (Banana); or, as Kaggle packs it:
<root>/ILSVRC/Data/CLS-LOC/train/n01601694/n01601694_10.JPEG
"""


class ImageNet50(EvaluationDataModule):
    """ImageNet-50: batches of task "images" (thesis section 2.2.3), the first training images of fifty classes.

    A batch holds "image" (B, 3, S, S) float32 RGB in [0, 1], "label" (B,) int64, the place of the class in this file's
    list, 0 to 49, and "index" (B,) int64, the place of the image among all, sorted by class and name, whatever the
    ``order``. The shorter side is resized to S (bicubic) and the middle cut out.

    Of every class, the images that come first in lexical order are taken. The official code cuts its listing before
    it looks at suffixes, so that a stray file costs it an image; here it does not.

    Args:
        root: the folder that holds train/, the same in Kaggle's layout, or one that holds the class folders.
        image_size: S, pixels.
        images_per_class: 100 in the thesis, 5,000 in all.
        order: "shuffled", one permutation of ``seed`` in which every batch mixes the classes, or "sorted" by class,
            as the official code goes: its batches of eight then hold a single class, and CKA on them cannot see what
            tells classes apart.
        seed: of the permutation.
        batch_size: images a batch.
        num_workers: processes that load images.

    Raises:
        UserError: an option is out of its bounds.
        DatasetNotFoundError: in ``setup``, if a class is missing.
    """

    task = "images"
    collate = staticmethod(ImageFiles.collate)

    def __init__(
        self,
        root: str,
        image_size: ImageSize = 224,
        images_per_class: PositiveInt = 100,
        order: Literal["shuffled", "sorted"] = "shuffled",
        seed: AnyInt = 0,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 2,
    ):
        check_options(ImageNet50, locals())
        super().__init__([image_size], batch_size, num_workers)
        self.root, self.images_per_class = Path(root).expanduser(), images_per_class
        self.order, self.seed = order, seed
        self.part = LabelledFiles([])

    @override
    def setup(self, stage: str | None = None) -> None:
        """List the images of every class."""
        if self.part.paths:
            return
        folder = training_folder(self.root)
        of_class = [self._first(folder / wordnet_id) for wordnet_id in WORDNET_IDS]
        paths = [path for found in of_class for path in found]
        compare_count("ImageNet-50", "images", len(paths), self.images_per_class * len(WORDNET_IDS))
        self.part = LabelledFiles(paths, [label for label, found in enumerate(of_class) for _ in found])

    @override
    def dataset(self, size: int) -> Dataset:
        images = ImageFiles(self.part, partial(centre_square_tensor, size=size))
        if self.order == "sorted":
            return images
        return Subset(images, torch.randperm(len(images), generator=torch.Generator().manual_seed(self.seed)).tolist())

    def _first(self, folder: Path) -> list[Path]:
        try:
            return find_images(folder, SUFFIXES)[: self.images_per_class]
        except DatasetNotFoundError as error:
            name = NAMES[WORDNET_IDS.index(folder.name)]
            raise DatasetNotFoundError(
                name="ImageNet-50",
                looked_in=self.root,
                expected=EXPECTED,
                remedies=REMEDIES,
                missing=f"images of the class {folder.name} ({name}) in {folder}",
            ) from error
