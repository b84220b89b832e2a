"""PartImageNet: what is salient in its pictures, and the parts that their subjects consist of."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, islice, zip_longest
from pathlib import Path

from typing_extensions import override

from datamodules.analysis.masks import CocoFile, MaskedImage, masked_tasks, read_coco, report_skipped
from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.evaluation import Evaluated, EvaluationLoaders, known_tasks
from datamodules.common.reports import compare_count, first_names, report_left_out
from visionscapes.checks import ImageSize, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

TASKS = ("saliency", "parts")
PUBLISHED_IMAGES = {"train": 16_540, "val": 2_957, "test": 4_598}
TREE = """
<root>/
    {train,val,test}.json
    {train,val,test}/n02085782/n02085782_1039.JPEG
"""
REMEDIES = (
    "If you have it, point to its folder: --data.init_args.root=<folder that holds train.json>",
    "If not, download PartImageNet_OOD.zip, the release whose parts have different classes, from the data set"
    " turkeyju/PartImageNet of the Hugging Face hub, unpack it, and point to the folder that holds train.json",
)

Picture = tuple[str, int]  # (part of the data set, image id): ids repeat from one part to another


class PartImageNet(EvaluationLoaders):
    """PartImageNet: batches of tasks "saliency" (thesis sections 2.3.4, 2.7.4) and "parts" (section 2.4.3).

    * "saliency": "image" (B, 3, S, S) float32 RGB in [0, 1], "mask" (B, S, S) bool, the union of all parts, and
      "dataset", "PartImageNet". The shorter side is resized to S (bicubic) and the middle cut out of picture and mask;
      the crop may leave nothing of a mask, and the official code passes over such pictures.
    * "parts": one picture a batch, "image" (1, 3, H, W) with a shorter side of 2S, its aspect ratio kept, "masks"
      (M, H, W) bool, M at least 1, "label" (M,) int64, the category of the part (0, the head of a quadruped, to 39),
      and "image_id".

    The three parts of the data set are pooled. Of each of the 11 supercategories, pictures are taken in turn from its
    classes until there are enough or all are taken. Classes and files are in alphabetical order; the official code
    goes through the classes as the file system lists them. Pictures without any valid mask are left out afterwards, as
    in the official code, and it is said how many.

    Args:
        root: the folder that holds train.json, val.json and test.json, of the release "OOD".
        tasks: "saliency", "parts".
        image_size: S, pixels.
        saliency_images: of every supercategory for "saliency"; with 500 there are 5,294 in all, as in the thesis.
        part_images: of every supercategory for "parts".
        batch_size: pictures a batch for "saliency".
        num_workers: processes that load pictures.

    Raises:
        UserError: an unknown task or a number below 1; in ``setup``, if an annotation is damaged or the release is
            the one whose parts share their classes.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    dataset_name = "PartImageNet"

    def __init__(
        self,
        root: str,
        tasks: list[str] = ["saliency", "parts"],  # noqa: B006 (read only, and the help shows it)
        image_size: ImageSize = 224,
        saliency_images: PositiveInt = 500,
        part_images: PositiveInt = 100,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 2,
    ):
        check_options(PartImageNet, locals())
        super().__init__(num_workers)
        self.root, self.tasks = Path(root).expanduser(), known_tasks(tasks, TASKS)
        self.image_size, self.batch_size = image_size, batch_size
        self.counts = {"saliency": saliency_images, "parts": part_images}
        self.categories: dict[int, tuple[str, str]] = {}
        self.images: dict[str, list[MaskedImage]] = {}

    @override
    def setup(self, stage: str | None = None) -> None:
        """Read the annotations and choose the pictures of the tasks."""
        if self.images:
            return
        files = {}
        for split, published in PUBLISHED_IMAGES.items():
            path = self.root / f"{split}.json"
            if not path.is_file():
                raise self._not_found(str(path))
            files[split] = read_coco(path)
            compare_count(f"PartImageNet {split}", "images", len(files[split].images), published)
        check_release(files)
        self.categories = files["train"].categories
        classes = pictures_by_class(files)
        masked: dict[Picture, MaskedImage] = {}
        for task in self.tasks:
            chosen = [picture for group in classes.values() for picture in in_turn(group, self.counts[task])]
            self._read(files, [picture for picture in chosen if picture not in masked], masked)
            kept = [masked[picture] for picture in chosen if masked[picture].masks]
            missing = len(chosen) - len(kept)
            report_left_out(f"PartImageNet, {task}", missing, "pictures", len(chosen), "they have no valid mask")
            if not kept:
                raise self._not_found("a picture with a valid mask")
            self.images[task] = kept
        report_skipped("PartImageNet", *(file.skipped for file in files.values()))

    @override
    def evaluated(self) -> dict[str, Evaluated]:
        return masked_tasks(self.images, self.image_size, self.dataset_name, self.batch_size)

    def _read(
        self, files: Mapping[str, CocoFile], pictures: Sequence[Picture], masked: dict[Picture, MaskedImage]
    ) -> None:
        """Add the annotations of pictures to ``masked``, once their files are known to be there."""
        paths = {}
        for split, image_id in pictures:
            name = files[split].images[image_id]["file_name"]
            paths[split, image_id] = self.root / split / wordnet_id(name) / name
        absent = [path for path in paths.values() if not path.is_file()]
        if absent:
            raise self._not_found(first_names(absent, self.root))
        for (split, image_id), path in paths.items():
            masked[split, image_id] = files[split].masked(image_id, path)

    def _not_found(self, missing: str) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name="PartImageNet", looked_in=self.root, expected=TREE, remedies=REMEDIES, missing=missing
        )


def wordnet_id(name: str) -> str:
    """Return the class of a picture, which its name starts with."""
    return name.partition("_")[0]


def check_release(files: Mapping[str, CocoFile]) -> None:
    """Check that the parts of the data set have different classes and the same categories.

    Raises:
        UserError: they do not: it is another release, and its parts of equal names hold other pictures.
    """
    classes = {split: {wordnet_id(each["file_name"]) for each in file.images.values()} for split, file in files.items()}
    for first, second in combinations(files, 2):
        shared = sorted(classes[first] & classes[second])
        if shared:
            raise UserError(
                f"{files[first].path} and {files[second].path} share {len(shared)} classes, such as {shared[0]}: this "
                "is the release PartImageNet_Seg; get PartImageNet_OOD.zip, whose parts have different classes"
            )
        if files[first].categories != files[second].categories:
            raise UserError(
                f"{files[first].path} and {files[second].path} have different categories: unpack both from one release"
            )


def pictures_by_class(files: Mapping[str, CocoFile]) -> dict[str, list[list[Picture]]]:
    """Return the pictures of every class by supercategory, all in alphabetical order.

    The supercategory of a class is the one that most annotations of its pictures have; a class without annotations
    has none and is left out.
    """
    named: dict[str, dict[str, Picture]] = {}
    supercategories: dict[str, Counter[str]] = {}
    for split, file in files.items():
        for image_id, image in file.images.items():
            of_class = wordnet_id(image["file_name"])
            named.setdefault(of_class, {})[image["file_name"]] = (split, image_id)
            found = (file.categories[each["category_id"]][1] for each in file.annotations[image_id])
            supercategories.setdefault(of_class, Counter()).update(found)
    grouped: dict[str, list[list[Picture]]] = {}
    for of_class in sorted(named):
        ranked = sorted(supercategories[of_class].items(), key=lambda item: (-item[1], item[0]))
        if ranked:
            pictures = [named[of_class][name] for name in sorted(named[of_class])]
            grouped.setdefault(ranked[0][0], []).append(pictures)
    return {name: grouped[name] for name in sorted(grouped)}


def in_turn(classes: Sequence[Sequence[Picture]], count: int) -> list[Picture]:
    """Return up to ``count`` pictures: the first of every class, the second of every class that has one, ..."""
    rounds = (picture for each in zip_longest(*classes) for picture in each if picture is not None)
    return list(islice(rounds, count))
