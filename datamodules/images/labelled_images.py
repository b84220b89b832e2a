"""Pictures with labels as people have them: folders of classes, or a table, for everything that takes labels."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Subset
from typing_extensions import override

from datamodules.common.evaluation import Stacked, known_tasks
from datamodules.common.image_files import REPLACE_OR_SKIP, UnreadableImageError, unreadable_images
from datamodules.common.inputs import relative_name
from datamodules.common.inspection.contents import PartContents, picture_files
from datamodules.common.loading import eval_loader
from datamodules.common.reports import report
from datamodules.common.resizing import centre_square_tensor
from datamodules.images.class_folders import NAME, InParts, LabelledPicture, read_class_folders, tell_odd_names
from datamodules.images.image_folder import Crop, ImageFiles, ImageFolder, LabelledFiles, Square
from datamodules.images.label_tables import in_order, read_label_table, table_in
from datamodules.images.views import RandomViews
from visionscapes.checks import AnyInt, ImageSize, PositiveInt, PositiveShare, ShareBelowOne, Workers, check_options
from visionscapes.errors import UserError

TASKS = ("images", "knn-train", "knn-test", "retrieval-database", "retrieval-queries")
OF_TWO_PARTS = TASKS[1:]
RELEVANCE = ("easy", "hard", "junk")
MOST_QUERIES = 1000  # for every one the whole database is ranked
LONGEST_NAME = 64  # bytes, of a data set in results


class LabelledImages(ImageFolder):
    """Pictures with labels: folders that are called as their classes, or a table (.csv, .tsv) of paths and labels.

    Training and validation have the batches of `ImageFolder` with "label" (B,) int64, the place of the class among the
    names in their order: that of the alphabet, of a table whose labels are whole numbers that of the numbers, or of
    ``classes``. Where no part is named val, a share of every class is held out of train. A test goes through ``tasks``:

    - "images": the pictures of test, else of val, else of train, classes mixed, for clusters, attention and CKA;
    - "knn-train" and "knn-test": those of train, and of test or val, for k-NN and linear probes;
    - "retrieval-database" and "retrieval-queries": the same, for retrieval, with "easy", "hard" and "junk", lists of B
      int64 tensors of places in the database: easy ones have the class of the query, as labels know no harder ones, so
      that there is a figure at the level medium and none at hard. At most 1000 queries, evenly taken.

    All have "task", "image" (B, 3, S, S) float32 RGB in [0, 1], "label" and "index" (B,) int64, the place in the part.

    Args:
        root: folder of the folders of the classes, which may lie in folders train, val and test; or of a table and its
            pictures. To predict, pictures of any other place will do, see `ImageFolder`.
        labels: the table, in the folder or with its whole path; if null, labels.csv or labels.tsv where there is one,
            else the folders.
        path_column: of the table, the column of the pictures' paths.
        label_column: of the table, the column of the classes.
        split_column: of the table, the column that says train, val or test, if there is one.
        in_parts: whether ``root`` holds the folders train, val and test; "auto" looks.
        classes: which classes to take, and in which order labels count them; all if null.
        image_size: S in pixels.
        batch_size: images per process.
        num_workers: loading processes per training process.
        color_jitter: see `ImageFolder`, as all that follow.
        crop: "random", "center" or "squash", of training; tests take the middle unless it is "squash".
        crop_area: range of the random crop's share of the image.
        flip: mirror every second training image.
        rand_augment: policy of RandAugment for the training images.
        views: training batches also hold "views".
        val_fraction: share of every class that is held out where no part is val: at least one picture, never all. A
            hash of seed and path decides.
        seed: of the order of training, of what is held out and of the mix of "images".
        tasks: of a test, see above.
        predict_size: length of the longer side when predicting.
        skip_unreadable: leave out files that cannot be read and say which.
        check_files: decode every file once before a training, so that what cannot be read ends it then and not after
            hours; `skip_unreadable` does so in any case.

    Raises:
        UserError: an argument out of its range; in ``setup``, a table or folders that cannot be used, fewer than two
            classes, a class that train has no picture of, or files that cannot be read.
        DatasetNotFoundError: in ``setup``, if the folder is missing or holds no labelled picture.
    """

    def __init__(
        self,
        root: str,
        labels: str | None = None,
        path_column: str = "path",
        label_column: str = "label",
        split_column: str = "split",
        in_parts: InParts = "auto",
        classes: list[str] | None = None,
        image_size: ImageSize = 224,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 2,
        color_jitter: bool = True,
        crop: Crop = "random",
        crop_area: tuple[PositiveShare, PositiveShare] = (0.4, 1.0),
        flip: bool = True,
        rand_augment: str | None = None,
        views: RandomViews | None = None,
        val_fraction: ShareBelowOne = 0.2,
        seed: AnyInt = 0,
        tasks: list[str] = list(TASKS),  # noqa: B006 (read only, and the help shows it)
        predict_size: ImageSize | None = 448,
        skip_unreadable: bool = False,
        check_files: bool = True,
    ):
        check_options(LabelledImages, locals())
        super().__init__(
            root,
            image_size=image_size,
            batch_size=batch_size,
            num_workers=num_workers,
            color_jitter=color_jitter,
            crop=crop,
            val_fraction=val_fraction,
            seed=seed,
            predict_size=predict_size,
            skip_unreadable=skip_unreadable,
            crop_area=crop_area,
            flip=flip,
            rand_augment=rand_augment,
            views=views,
        )
        self.labels_file, self.in_parts, self.check_files = labels, in_parts, check_files
        self.columns = {"path_column": path_column, "label_column": label_column, "split_column": split_column}
        self.chosen = list(classes) if classes is not None else None
        self.all_tasks = known_tasks(tasks, TASKS)
        self.tasks = list(self.all_tasks)
        self.content = ""  # tells what was measured of one state of the folder from another

    def only(self, tasks: Iterable[str] | None) -> None:
        """Narrow a test to those of its tasks that are named; None takes all."""
        named = set(self.all_tasks if tasks is None else tasks)
        self.tasks = [task for task in self.all_tasks if task in named]

    @property
    def dataset_name(self) -> str:
        """Name of the data set in results: that of its folder, cut to what they hold."""
        name = self.root.absolute().name or "pictures"
        return name.encode(errors="replace")[:LONGEST_NAME].decode(errors="ignore")

    @override
    def parts(self, training: bool = True) -> tuple[LabelledFiles, LabelledFiles]:
        """Return the parts of training and of validation; that of the test is kept beside them."""
        self._read(training)
        return self.train_part, self.val_part

    @override
    def contents(self) -> dict[str, PartContents]:
        """Return the files of all parts."""
        own = {} if self.test_part is None else {"test": self.test_part}
        return super().contents() | {
            name: picture_files(part.paths, upright=self.upright, classes=self.class_names, labels=part.labels)
            for name, part in own.items()
        }

    @override
    def test_dataloader(self) -> dict[str, DataLoader]:  # type: ignore[override]
        """Return the loaders of the tasks by "<task>@<S>"; those of two parts only if something is held out."""
        tested = self.val_part if self.test_part is None else self.test_part
        tasks = self.tasks
        if not tested.paths:
            lost = [task for task in tasks if task in OF_TWO_PARTS]
            if lost:
                report("%s: nothing is held out, so that there is no %s: raise val_fraction", NAME, ", ".join(lost))
            tasks = [task for task in tasks if task not in OF_TWO_PARTS]
        return {f"{task}@{self.image_size}": self._tested(task, tested) for task in tasks}

    def _tested(self, task: str, tested: LabelledFiles) -> DataLoader:
        """Return the loader of a task."""
        transform = (
            Square(self.image_size, "squash")
            if self.crop == "squash"
            else partial(centre_square_tensor, size=self.image_size)
        )
        samples: Dataset
        collate = Stacked(task)
        if task == "images":
            images = ImageFiles(tested if tested.paths else self.train_part, transform, self.upright)
            samples = Subset(images, torch.randperm(len(images), generator=_generator(self.seed)).tolist())
        elif task == "retrieval-queries":
            samples = ClassQueries(tested, self.train_part, transform, upright=self.upright)
            collate = Stacked(task, RELEVANCE, dataset=self.dataset_name)
        else:
            samples = ImageFiles(tested if task == "knn-test" else self.train_part, transform, self.upright)
            collate = Stacked(task, dataset=self.dataset_name) if task == "retrieval-database" else collate
        return eval_loader(
            samples,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=collate,
            trainer=self.trainer,
        )

    def _read(self, training: bool) -> None:
        """Find the pictures, their classes and parts."""
        table = table_in(self.root, self.labels_file)
        found = (
            read_class_folders(self.root, self.in_parts)
            if table is None
            else read_label_table(table, self.root, **self.columns)
        )
        self.named_below = self.root
        found = self._readable(self._of_classes(found), training)
        names = {picture.label for picture in found}
        if self.chosen is not None:
            self.class_names = self.chosen
        else:
            self.class_names = in_order([*names]) if table is not None else sorted(names)
        tell_odd_names(self.class_names)
        parts = self._divided(found)
        self.train_part, self.val_part = parts["train"], parts["val"]
        self.test_part = parts["test"] if parts["test"].paths else None
        if len(self.class_names) < 2:
            raise UserError(
                f"{self.root} has pictures of {len(self.class_names)} class ({', '.join(self.class_names)}), and there"
                " is nothing to tell apart: add a folder, or rows, of another class; pictures without classes are"
                " --data=ImageFolder"
            )
        self._check_classes()
        self.content = self._digest([part for part in parts.values() if part.paths])

    def _of_classes(self, found: list[LabelledPicture]) -> list[LabelledPicture]:
        """Return the pictures of the classes that were asked for."""
        if self.chosen is None:
            return found
        present = in_order([picture.label for picture in found])
        unknown = [name for name in self.chosen if name not in present]
        if unknown or len(set(self.chosen)) < len(self.chosen):
            wrong = f"{', '.join(unknown)}, of which there is no picture" if unknown else "a class more than once"
            raise UserError(f"classes has {wrong}; {self.root} has {', '.join(present)}: correct the names")
        return [picture for picture in found if picture.label in set(self.chosen)]

    def _readable(self, found: list[LabelledPicture], training: bool) -> list[LabelledPicture]:
        """Return the pictures that can be read; refuse the others unless they are to be skipped."""
        paths = [picture.path for picture in found]
        if self.skip_unreadable:
            kept = set(self.readable(LabelledFiles(paths)).paths)
            lost = {picture.label for picture in found} - {pic.label for pic in found if pic.path in kept}
            if lost:
                report("%s: no picture is left of %d classes: %s", NAME, len(lost), ", ".join(sorted(lost)))
            return [picture for picture in found if picture.path in kept]
        bad = unreadable_images(paths) if training and self.check_files else []
        if bad:
            shown = ", ".join(relative_name(path, self.root) for path in bad[:10]) + ", ..." * (len(bad) > 10)
            raise UnreadableImageError(
                f"{len(bad)} of {len(paths)} pictures below {self.root} cannot be read: {shown}. {REPLACE_OR_SKIP}."
            )
        return found

    def _divided(self, found: list[LabelledPicture]) -> dict[str, LabelledFiles]:
        """Return the pictures by part; without a part val, some of every class are held out of train."""
        named = Counter(picture.split for picture in found)
        if not named[None] and not named["train"]:
            raise UserError(f"{self.root} has pictures of {', '.join(map(str, named))} and none of train: add some")
        held_out = (
            set() if named["val"] else self._held_out_of_classes([p for p in found if p.split in (None, "train")])
        )
        of_part: dict[str, list[LabelledPicture]] = {"train": [], "val": [], "test": []}
        for picture in found:
            of_part["val" if picture.path in held_out else picture.split or "train"].append(picture)
        places = {name: place for place, name in enumerate(self.class_names)}
        return {
            name: LabelledFiles([each.path for each in part], [places[each.label] for each in part])
            for name, part in of_part.items()
        }

    def _held_out_of_classes(self, found: Sequence[LabelledPicture]) -> set[Path]:
        """Return the share of every class that is held out: those that come first by a hash of seed and path."""
        of_class: dict[str, list[Path]] = {}
        for picture in found:
            of_class.setdefault(picture.label, []).append(picture.path)
        held_out: set[Path] = set()
        if self.val_fraction == 0:
            return held_out
        for paths in of_class.values():
            count = min(max(1, int(self.val_fraction * len(paths) + 0.5)), len(paths) - 1)
            held_out |= set(islice(sorted(paths, key=self._place), count))
        return held_out

    def _check_classes(self) -> None:
        """Refuse classes that a model could not learn, because train has no picture of them."""
        assert self.train_part.labels is not None
        trained = set(self.train_part.labels)
        for name, part in (("val", self.val_part), ("test", self.test_part or LabelledFiles([], []))):
            unknown = sorted(set(part.labels or ()) - trained)
            if unknown:
                names = [self.class_names[label] for label in unknown]
                shown = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
                known = ", ".join(self.class_names[label] for label in sorted(trained)[:10])
                raise UserError(
                    f"{name} has pictures of {len(names)} classes that train has none of ({shown}; train has {known}):"
                    f" add some to train, correct the names, or leave them out with --data.init_args.classes=[...]"
                )

    def _digest(self, parts: Sequence[LabelledFiles]) -> str:
        """Return what changes whenever a file, its class or its part does."""
        digest = hashlib.sha256(repr(self.class_names).encode(errors="surrogateescape"))
        for part in parts:
            for path, label in zip(part.paths, part.labels or (), strict=True):
                status = path.stat()
                line = f"{relative_name(path, self.root)}/{label}/{status.st_size}/{status.st_mtime_ns}\n"
                digest.update(line.encode(errors="surrogateescape"))
            digest.update(b"\n")
        return digest.hexdigest()[:16]


class ClassQueries(ImageFiles):
    """Pictures to be found again by their class, evenly taken where there are many; see `LabelledImages`.

    Args:
        part: the pictures.
        database: among which pictures of the same class are to be found.
        transform: makes the ``image`` (3, S, S) float32 in [0, 1] of an RGB image.
        upright: see `datamodules.common.image_files.read_image`.
    """

    def __init__(self, part: LabelledFiles, database: LabelledFiles, transform: Any, *, upright: bool):
        step = -(-len(part.paths) // MOST_QUERIES)
        assert part.labels is not None
        super().__init__(LabelledFiles(part.paths[::step], part.labels[::step]), transform, upright)
        self.classes = torch.tensor(database.labels)

    @override
    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = super().__getitem__(index)
        none = torch.empty(0, dtype=torch.int64)
        return sample | {"easy": (self.classes == sample["label"]).nonzero()[:, 0], "hard": none, "junk": none}


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % 2**63)
