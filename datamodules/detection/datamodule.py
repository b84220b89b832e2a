"""What every data set for object detection shares: sizes, views, batches and loaders."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
from torch.utils.data import DataLoader
from typing_extensions import override

from datamodules.common.inputs import FoundFiles, Inputs, find_inputs
from datamodules.common.inspection.contents import PartContents
from datamodules.common.loading import eval_loader, train_loader
from datamodules.common.prediction import PredictsFiles, UsableBatches
from datamodules.common.reports import report
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.contents import detection_contents
from datamodules.detection.copies import ShownCopies
from datamodules.detection.given import GivenScenes
from datamodules.detection.label_columns import labels_of
from datamodules.detection.mixing import both, mixed_order
from datamodules.detection.prediction import EvaluatedPictures, PicturesToDetect, collate_to_detect
from datamodules.detection.records import CocoRecords
from datamodules.detection.samples import EvaluationSamples, TrainingSamples, collate
from datamodules.detection.second_view import SecondView
from datamodules.detection.synthetic import SyntheticPictures
from metrics.label_statistics import Labels
from visionscapes.checks import LARGEST_IMAGE, Among, AnyInt, Bounds, PositiveInt, Workers, check_options
from visionscapes.options import group_of

PictureSide = Annotated[int, Bounds(least=2, most=LARGEST_IMAGE)]  # torch cannot resize to a single pixel


class DetectionDataModule(PredictsFiles, ABC):
    """Base of the data sets of annotated pictures; batches are described in ``datamodules.detection.samples``.

    Subclasses name their ``classes`` and read the records of their pictures; no picture is opened before it is needed.
    Pictures without any annotation are trained on like all others. ``predict`` goes through ``pictures``, for which no
    annotation is read, or else through those that are evaluated; see ``datamodules.detection.prediction``.

    Args:
        batch_size: pictures a batch and process.
        num_workers: processes that load.
        seed: of order, sizes, flips and views.
        train_sizes: shorter sides in pixels, one of which is drawn for every picture to train on.
        longest: most pixels of the longer side.
        test_size: shorter side in pixels of pictures to evaluate on.
        with_masks: whether training batches hold "masks".
        second_view: draws "second_view", for methods that compare two views of a picture.
        pictures: to predict: a file, a folder, a pattern such as "photos/*.jpg", or a list of these; the pictures that
            are evaluated if None.
        skip_unreadable: leave out pictures to predict that cannot be read, and say which; else the first one ends the
            run.
        synthetic: generated pictures to train on too; training batches then say which are, B x bool "synthetic".

    Raises:
        UserError: a size below 2, a batch size below 1.
    """

    classes: tuple[str, ...]
    category_ids: tuple[int | str, ...] = ()

    def __init__(
        self,
        batch_size: PositiveInt,
        num_workers: Workers,
        seed: AnyInt,
        train_sizes: Sequence[Annotated[PictureSide, Among(1)]],
        longest: PictureSide,
        test_size: PictureSide,
        with_masks: bool,
        second_view: SecondView | None,
        pictures: Inputs | None = None,
        skip_unreadable: bool = False,
        synthetic: SyntheticPictures = SyntheticPictures(),
    ):
        check_options(DetectionDataModule, locals())
        super().__init__()
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.train_sizes, self.longest, self.test_size = list(train_sizes), longest, test_size
        self.with_masks, self.second_view = with_masks, second_view
        self.pictures, self.skip_unreadable = pictures, skip_unreadable
        self.found: FoundFiles | None = None
        self.shown: ShownCopies | None = None  # of generated pictures, where one of a picture's copies is
        self.synthetic: SyntheticPictures = group_of(DetectionDataModule, "synthetic", synthetic)

    @abstractmethod
    def training_images(self) -> Sequence[AnnotatedImage]:
        """Return the pictures to train on, after ``setup``."""

    @abstractmethod
    def evaluation_images(self) -> Sequence[AnnotatedImage]:
        """Return the pictures to evaluate on, after ``setup``."""

    def repeats(self) -> np.ndarray | None:
        """Return how often each training picture is gone through in an epoch; None for once."""
        return None

    def pictures_by_class(self) -> np.ndarray:
        """Return (K,) int64, how many real training pictures show each class, after ``setup``."""
        counts = np.zeros(len(self.classes), np.int64)
        for labels in self.label_sets():
            counts[labels] += 1
        return counts

    def label_sets(self) -> Iterable[np.ndarray]:
        """Return, for every training picture, the labels of what is to be trained on in it, each once."""
        images = self.training_images()
        if isinstance(images, CocoRecords):  # without building each record
            return images.label_sets()
        return (np.unique(each.labels[~each.removed & ~each.ignored]) for each in images)

    @property
    def categories(self) -> list[dict[str, Any]]:
        """Number and name of every class by label, {"id", "name"} as in COCO's files; none before they are known."""
        ids = self.category_ids or range(1, len(self.classes) + 1)
        return [{"id": number, "name": name} for number, name in zip(ids, self.classes, strict=True)]

    def read_categories(self) -> list[dict[str, Any]]:
        """Return ``categories``, if need be from annotations that are not read otherwise; none where there are none."""
        return self.categories

    @property
    def inputs(self) -> GivenScenes:
        """How pictures are prepared that a user gives in Python, as `predict` does it."""
        return GivenScenes(
            self.test_size,
            self.longest,
            classes=[each["name"] for each in self.read_categories()] or None,
            second_view=None if self.second_view is None else dict(vars(self.second_view)),
            seed=self.seed,
        )

    def training_labels(self) -> Labels | None:
        """Return the annotations to train on for statistics, None where they were not read."""
        images = self.training_images()
        return labels_of(images) if images else None

    def finds_pictures(self, stage: str) -> bool:
        """Find the user's own pictures where they are what is to be done, and return whether they are.

        Raises:
            DatasetNotFoundError: there is none.
        """
        if stage != "predict" or self.pictures is None:
            return False
        self.found = find_inputs(self.pictures, name="The pictures to detect objects in", option="pictures")
        self.predict_root = self.found.root
        return True

    def contents(self) -> dict[str, PartContents]:
        """Return the pictures and boxes of both parts, as `datamodules.common.inspection` asks for them."""
        parts = {"train": self.training_images(), "val": self.evaluation_images()}
        return {name: detection_contents(images, self.classes) for name, images in parts.items() if len(images)}

    @override
    def train_dataloader(self) -> DataLoader:
        samples = self._training_samples(self.training_images(), self.with_masks, self.repeats())
        sampling = self.synthetic.mixing == "sampling"
        with_masks = self.with_masks and not sampling  # batches of one kind do without
        generated = self.synthetic.records(self.classes, with_masks)
        sampler = None
        if generated is not None:
            self.shown = ShownCopies(generated) if self.synthetic.copies == "one" else None
            if self.shown is not None and len(self.shown) < len(generated):
                report("%d of %d generated pictures are shown, a copy of each", len(self.shown), len(generated))
            others = self._training_samples(generated if self.shown is None else self.shown, with_masks)
            if sampling:
                sampler = mixed_order(
                    len(samples),
                    len(others),
                    probability=self.synthetic.probability,
                    batch_size=self.batch_size,
                    seed=self.seed,
                )
        return train_loader(
            samples if generated is None else both(samples, others),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
            collate_fn=collate,
            trainer=self.trainer,
            sampler=sampler,
        )

    def copies_loader(self) -> DataLoader:
        """Return the loader of all generated pictures where one copy is shown, as they are looked at in evaluation."""
        assert self.shown is not None
        return eval_loader(
            EvaluationSamples(self.shown.images, self.test_size, self.longest),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=collate,
            trainer=self.trainer,
        )

    def _training_samples(
        self, images: Sequence[AnnotatedImage], with_masks: bool, repeats: np.ndarray | None = None
    ) -> TrainingSamples:
        return TrainingSamples(
            images,
            self.train_sizes,
            self.longest,
            with_masks=with_masks,
            second_view=self.second_view,
            repeats=repeats,
        )

    @override
    def val_dataloader(self) -> DataLoader:
        samples = self._evaluation_samples()
        return eval_loader(
            samples, batch_size=self.batch_size, num_workers=self.num_workers, collate_fn=collate, trainer=self.trainer
        )

    @override
    def test_dataloader(self) -> DataLoader:
        """Return the same loader as for validation."""
        return self.val_dataloader()

    @override
    def predict_dataloader(self) -> DataLoader | UsableBatches:
        """Return the loader of ``pictures``, one a batch, or of those that are evaluated; batches of task "detect"."""
        if self.found is None:
            return eval_loader(
                EvaluatedPictures(self._evaluation_samples()),
                batch_size=self.batch_size,
                num_workers=self.num_workers,
                collate_fn=collate_to_detect,
                trainer=self.trainer,
            )
        own = PicturesToDetect(
            self.found.paths,
            self.test_size,
            self.longest,
            root=self.found.root,
            second_view=self.second_view,
            seed=self.seed,
        )
        # One by one: a picture is padded to the size of its neighbours, and what is found would depend on them.
        return self.usable_batches(own, num_workers=self.num_workers, collate_fn=collate_to_detect)

    def _evaluation_samples(self) -> EvaluationSamples:
        return EvaluationSamples(
            self.evaluation_images(), self.test_size, self.longest, second_view=self.second_view, seed=self.seed
        )
