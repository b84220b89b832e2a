"""The embedded world of chapter 2: labelled pictures to train on, and every evaluation of the analysis."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Any

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from typing_extensions import override

from datamodules.common.evaluation import Stacked, known_tasks
from datamodules.common.loading import check_global_batch, eval_loader, step_generator, train_loader
from datamodules.dense.davis import DAVIS2017
from datamodules.dense.spair import SPair71k
from datamodules.images.image_folder import ImageFiles
from datamodules.images.views import RandomViews, crop_and_resize, random_boxes, recolour
from datamodules.procedural.scenes import analysis_samples as analysis
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD, OnDemand, Rendered, squashed
from datamodules.procedural.scenes.subjects import describe, render_subject
from visionscapes.checks import (
    LARGEST_IMAGE,
    Bounds,
    ImageSize,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    PositiveShare,
    Workers,
    check_options,
    check_rising,
)
from visionscapes.errors import UserError
from visionscapes.seeding import derived_seed

TASKS = (
    "images",
    "saliency",
    "objects",
    "parts",
    "knn-train",
    "knn-test",
    "retrieval-database",
    "retrieval-queries",
    "keypoints",
    "video",
    "dense-video",
)
DENSE = ("objects", "parts", "dense-video")  # shown at 2S
ONE_DATASET = "scenes"
# How samples become a batch, where they are not just stacked.
COLLATE: dict[str, Callable[[list[Any]], dict[str, Any]]] = {
    "saliency": Stacked("saliency", dataset=ONE_DATASET),
    "retrieval-database": Stacked("retrieval-database", dataset=ONE_DATASET),
    "retrieval-queries": Stacked("retrieval-queries", ("easy", "hard", "junk"), dataset=ONE_DATASET),
    "objects": partial(analysis.collate_regions, "objects"),
    "parts": partial(analysis.collate_regions, "parts"),
    "keypoints": SPair71k.collate,
    "video": DAVIS2017.collate,
    "dense-video": DAVIS2017.collate,
}
BATCH_SIZES = {"objects": 1, "parts": 1, "keypoints": 8, "video": 1, "dense-video": 1}  # others: analysis_batch
LEAST_SIZE = 8  # below, no object has enough pixels to be evaluated


class SubjectWorld(LightningDataModule):
    """Pictures of one labelled subject each, and the tasks of the analysis of chapter 2 on worlds of their own.

    Training batches are of task "images": "image" (B, 3, S, S) float32 RGB in [0, 1], "index" (B,) and "label" (B,)
    int64, one of the 12 classes, and "caption", B strings that name the subject and place the clutter around it; with
    ``views`` they also hold "views" (``datamodules.images.views.Views``). Crops and colours are functions of (seed,
    global step, rank), so a resumed run sees what an uninterrupted one does. Nothing is mirrored, because captions tell
    left from right. A crop can make the subject look larger than its caption says, move it, or cut off clutter that the
    caption names; on which side of the subject clutter lies stays true.

    Validation during ``fit`` has one loader, "images@S", of held-out pictures. Evaluation has one loader for each task,
    "<task>@<size>", with the batches of the real data sets, on held-out worlds, rendered when asked for at 2S: what a
    task shows at S is that picture, squashed and antialiased. Everything is a function of ``seed``.

    Args:
        subjects: pictures to train on, kept in memory; rendering takes about 3 ms each.
        image_size: side in pixels at which they are rendered.
        crop_size: side in pixels of the random crops to train on; None trains on whole, unchanged pictures.
        crop_area: range of a crop's share of the picture.
        colour: strength of the colour changes, see ``datamodules.images.views.RandomViews``.
        views: for self-supervised training that compares views of a picture; "image" is then the whole picture,
            resized to ``crop_size`` with its own colours.
        batch_size: training pictures a batch and process.
        num_workers: processes that load batches.
        seed: of the world, at least 0; the order of training follows it too.
        size: S, side of the evaluated pictures in pixels, at least 8; dense tasks have 2S.
        held_out: pictures for the validation during ``fit``; 0 for none.
        tasks: evaluated; their order is always that of this list's default.
        images: pictures for "images", a mix of classes in every batch.
        saliency: pictures for "saliency".
        objects: scenes for "objects", of one to four objects each.
        parts: pictures for "parts".
        neighbours: pictures for "knn-train".
        queries: pictures for "knn-test".
        instances: objects that "retrieval-queries" asks for, one query each; the database has three easy views, three
            hard ones and a mostly hidden one of each.
        distractors: pictures of other objects of the same classes in "retrieval-database".
        pairs: for "keypoints".
        videos: for "video" and "dense-video".
        frames: of every video.
        analysis_batch: pictures a batch in the tasks of whole pictures; the last batch may be shorter.

    Raises:
        UserError: an unknown task or none, or a number below what it can be; in ``setup``, for ``predict``.
    """

    def __init__(
        self,
        subjects: PositiveInt = 3000,
        image_size: ImageSize = 80,
        crop_size: ImageSize | None = 64,
        crop_area: tuple[PositiveShare, PositiveShare] = (0.4, 1.0),
        colour: NonNegativeFloat = 0.2,
        views: RandomViews | None = None,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 0,
        seed: NonNegativeInt = 0,
        size: Annotated[int, Bounds(least=LEAST_SIZE, most=LARGEST_IMAGE)] = 64,
        held_out: NonNegativeInt = 240,
        tasks: list[str] = list(TASKS),  # noqa: B006 (read only, and the help shows it)
        images: PositiveInt = 480,
        saliency: PositiveInt = 240,
        objects: PositiveInt = 160,
        parts: PositiveInt = 120,
        neighbours: PositiveInt = 720,
        queries: PositiveInt = 360,
        instances: PositiveInt = 24,
        distractors: NonNegativeInt = 120,
        pairs: PositiveInt = 100,
        videos: PositiveInt = 12,
        frames: PositiveInt = 8,
        analysis_batch: PositiveInt = 48,
    ):
        check_options(SubjectWorld, locals())
        super().__init__()
        check_rising(SubjectWorld, crop_area=crop_area)
        self.subjects, self.image_size, self.crop_size = subjects, image_size, crop_size
        self.crop_area, self.colour, self.views = crop_area, colour, views
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.size, self.held_out, self.analysis_batch = size, held_out, analysis_batch
        self.images, self.saliency, self.objects, self.parts = images, saliency, objects, parts
        self.neighbours, self.queries, self.instances, self.distractors = neighbours, queries, instances, distractors
        self.pairs, self.videos, self.frames = pairs, videos, frames
        self.all_tasks = known_tasks(tasks, TASKS) if tasks else []  # training alone needs none
        self.tasks = list(self.all_tasks)
        self.train_set: Rendered | None = None
        self.held_out_set: Rendered | None = None

    def only(self, tasks: Iterable[str] | None) -> None:
        """Narrow the evaluation to those of its tasks that are named.

        Args:
            tasks: names out of ``TASKS``; the ones that are not evaluated anyway stay so. None takes all that are.

        Raises:
            UserError: an unknown task.
        """
        named = self.all_tasks if tasks is None else list(tasks)
        self.tasks = [task for task in known_tasks(named, TASKS) if task in self.all_tasks] if named else []

    @override
    def setup(self, stage: str) -> None:
        if stage == "predict":
            raise UserError("SubjectWorld has nothing to predict: give a folder of images, --data=ImageFolder")
        if stage == "fit" and self.train_set is None:
            check_global_batch(self.subjects, self.batch_size)
            self.train_set = _labelled(self.seed, self.subjects, self.image_size, self.image_size)
        if stage in ("fit", "validate") and self.held_out and self.held_out_set is None:
            self.held_out_set = _labelled(self.seed + HELD_OUT_WORLD, self.held_out, 2 * self.size, self.size)

    @override
    def train_dataloader(self) -> DataLoader:
        assert self.train_set is not None, "setup('fit') comes first"
        return train_loader(
            self.train_set,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
            collate_fn=ImageFiles.collate,
            trainer=self.trainer,
        )

    @override
    def val_dataloader(self) -> dict[str, DataLoader]:
        """Return the loader of the held-out pictures by "images@<size>"; none if nothing is held out."""
        if self.held_out_set is None:
            return {}
        loader = eval_loader(
            self.held_out_set, batch_size=self.batch_size, collate_fn=ImageFiles.collate, trainer=self.trainer
        )
        return {f"images@{self.size}": loader}

    @override
    def test_dataloader(self) -> dict[str, DataLoader]:
        """Return the loaders of the evaluated tasks by "<task>@<size>", in the order of ``TASKS``."""
        return dict(self._evaluation(task) for task in self.tasks)

    def _evaluation(self, task: str) -> tuple[str, DataLoader]:
        """Return the name and the loader of a task."""
        views = partial(analysis.database, instances=self.instances)
        query = partial(analysis.query, instances=self.instances)
        database = self.instances * len(analysis.VIEWS) + self.distractors
        plans: dict[str, tuple[int, int, Callable[..., dict[str, Any]]]] = {
            # task: (world, samples, how to render one)
            "images": (0, self.images, analysis.picture),
            "saliency": (1, self.saliency, analysis.salient),
            "objects": (2, self.objects, analysis.scene_objects),
            "parts": (3, self.parts, analysis.subject_parts),
            "knn-train": (4, self.neighbours, analysis.picture),
            "knn-test": (5, self.queries, analysis.picture),
            "retrieval-database": (6, database, views),
            "retrieval-queries": (6, self.instances, query),
            "keypoints": (7, self.pairs, analysis.pair),
            "video": (8, self.videos, partial(analysis.video, frames=self.frames)),
            "dense-video": (8, self.videos, partial(analysis.dense_video, frames=self.frames)),
        }
        world, number, render = plans[task]
        # World 1 is that of the validation.
        dataset: Dataset = OnDemand(number, partial(render, self.seed + HELD_OUT_WORLD * (2 + world)), self.size)
        if task == "images":
            order = torch.randperm(number, generator=torch.Generator().manual_seed(derived_seed(self.seed, 0) % 2**63))
            dataset = Subset(dataset, order.tolist())
        loader = eval_loader(
            dataset,
            batch_size=BATCH_SIZES.get(task, self.analysis_batch),
            num_workers=self.num_workers,
            collate_fn=COLLATE.get(task, Stacked(task)),
            trainer=self.trainer,
        )
        return f"{task}@{self.size * (2 if task in DENSE else 1)}", loader

    @override
    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Crop and recolour a training batch, or draw its views, as a function of (seed, step, rank)."""
        if self.trainer is not None and self.trainer.training:
            batch |= self.augmented(batch["image"], step_generator(self.seed, self.trainer.global_step))
        return batch

    def augmented(self, images: Tensor, generator: torch.Generator) -> dict[str, Any]:
        """Return what replaces "image" in a training batch and, if there are ``views``, "views".

        Args:
            images: (B, 3, H, W) float32 in [0, 1].
            generator: of random numbers, on the CPU.
        """
        if self.views is not None:
            whole = torch.tensor([0.0, 0, 1, 1], device=images.device).expand(len(images), 4)
            shown = images if self.crop_size is None else crop_and_resize(images, whole, self.crop_size)
            return {"image": shown, "views": self.views(images, generator)}
        if self.crop_size is None:
            return {"image": images}
        boxes = random_boxes(len(images), self.crop_area, generator).to(images.device)
        crops = crop_and_resize(images, boxes, self.crop_size)
        return {"image": recolour(crops, self.colour, generator)}


def _labelled(world: int, count: int, rendered: int, side: int) -> Rendered:
    """Return pictures with "label" and "caption", rendered at one size and shown at another."""
    scenes = [render_subject(world, index, rendered) for index in range(count)]
    pictures = [squashed(scene.image, side) for scene in scenes]
    captions = [describe(world, index, scene) for index, scene in enumerate(scenes)]
    return Rendered(pictures, label=[int(scene.labels[-1]) for scene in scenes], caption=captions)
