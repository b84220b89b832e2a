"""The embedded world: procedural scenes and bundled photographs, for training and for every dense evaluation."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from datamodules.common.inputs import Inputs
from datamodules.common.loading import check_global_batch, eval_loader, step_generator, train_loader
from datamodules.common.prediction import PredictsFiles, UsableBatches
from datamodules.dense.davis import DAVIS2017
from datamodules.dense.object_discovery import ObjectDiscoveryData
from datamodules.dense.spair import SPair71k
from datamodules.images.given import GivenPhotographs
from datamodules.images.image_folder import FilesToPredict, ImageFiles, ImageFolder
from datamodules.images.views import RandomViews
from datamodules.procedural.scenes.crowds import Crowd, render_crowd
from datamodules.procedural.scenes.photographs import render_crop, render_warp
from datamodules.procedural.scenes.samples import (
    HELD_OUT_WORLD,
    OnDemand,
    Rendered,
    keypoint_pair,
    resized,
    scene_pair,
    scene_video,
)
from datamodules.procedural.scenes.scenes import Scene, render_scene
from visionscapes.checks import AnyInt, ImageSize, ImageSizes, NonNegativeInt, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

TASKS = ("images", "keypoints", "warps", "video", "discovery")


class SceneWorld(PredictsFiles):
    """Rendered scenes and crops of photographs, with batches as the real data sets give them.

    Training batches are of task "images"; with ``views`` they also hold "views" (``datamodules.images.views.Views``).
    Evaluation has one loader for each task and image size, on held-out instances and held-out photographs:
    "images@S" for the training loss, "keypoints@S" for pairs of one class, "warps@S" for photographs against their own
    warp, "video@S" and "discovery@S". Everything is a function of ``seed``.

    Args:
        scenes: rendered images to train on.
        crops: crops of photographs to train on.
        image_size: side of the training images in pixels.
        image_sizes: sides at which the tasks are evaluated; scenes are rendered at ``image_size`` and resized.
        batch_size: training images a batch and process.
        num_workers: processes that load batches.
        seed: of the world; the order of training follows it too.
        tasks: evaluated, out of "images", "keypoints", "warps", "video", "discovery".
        held_out: images for the held-out loss, half scenes and half crops.
        pairs: pairs for "keypoints" and for "warps".
        videos: for "video".
        frames: of every video.
        discoveries: scenes for "discovery".
        views: for self-supervised training that compares views of an image.
        root: images for ``predict``: a folder, a file, a pattern such as "photos/**/*.jpg", or a list of these.
        predict_size: longer side in pixels to which ``predict`` resizes images; their own size if None.
        skip_unreadable: ``predict`` leaves out the files that cannot be used and says which, see `ImageFolder`.
        crowds: crowded scenes to train on, those that `DetectionScenes` with this seed trains detectors on.

    Raises:
        UserError: an unknown task, nothing to train on, or a size or batch size below 1; in ``setup``, no folder to
            predict.
    """

    def __init__(
        self,
        scenes: NonNegativeInt = 450,
        crops: NonNegativeInt = 150,
        image_size: ImageSize = 128,
        image_sizes: ImageSizes = [32, 64, 128],  # noqa: B006 (read only, and the help shows it)
        batch_size: PositiveInt = 32,
        num_workers: Workers = 0,
        seed: AnyInt = 0,
        tasks: list[str] = ["images", "keypoints", "video", "discovery"],  # noqa: B006
        held_out: PositiveInt = 64,
        pairs: PositiveInt = 150,
        videos: PositiveInt = 24,
        frames: PositiveInt = 8,
        discoveries: PositiveInt = 100,
        views: RandomViews | None = None,
        root: Inputs | None = None,
        predict_size: ImageSize | None = 224,
        skip_unreadable: bool = False,
        crowds: NonNegativeInt = 0,
    ):
        check_options(SceneWorld, locals())
        super().__init__()
        unknown = set(tasks) - set(TASKS)
        if unknown:
            raise UserError(f"tasks {sorted(unknown)} do not exist; there are {', '.join(TASKS)}")
        if scenes + crops + crowds == 0:
            raise UserError("SceneWorld.scenes and .crops are 0, which leaves nothing to train on: give one of them")
        self.scenes, self.crops, self.crowds = scenes, crops, crowds
        self.image_size, self.image_sizes = image_size, list(image_sizes)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.tasks, self.held_out, self.pairs = list(tasks), held_out, pairs
        self.videos, self.frames, self.discoveries = videos, frames, discoveries
        self.views, self.root = views, root
        self.predict_size, self.skip_unreadable = predict_size, skip_unreadable

    @override
    def setup(self, stage: str) -> None:
        size, world = self.image_size, self.seed + HELD_OUT_WORLD
        if stage == "predict":
            if self.root is None:
                raise UserError("predict needs images: --data.init_args.root=<folder>, or a file, a pattern or a list")
            folder = ImageFolder(self.root, predict_size=self.predict_size)
            folder.setup(stage)
            self.predict_set, self.predict_root = folder.predict_set, folder.predict_root
            return
        if stage == "fit":
            check_global_batch(self.scenes + self.crops + self.crowds, self.batch_size)
            images = [render_scene(self.seed, i, size).image for i in range(self.scenes)]
            images += [render_crop(self.seed, i, size) for i in range(self.crops)]
            images += [render_crowd(self.seed, i, size, Crowd()).image for i in range(self.crowds)]
            self.train_set = Rendered(images)
        half = self.held_out // 2
        images = [render_scene(world, i, size).image for i in range(self.held_out - half)]
        self.held_out_set = Rendered(images + [render_crop(world, i, size, held_out=True) for i in range(half)])

    @override
    def train_dataloader(self) -> DataLoader:
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
        return self._loaders([task for task in self.tasks if task == "images"])

    @override
    def test_dataloader(self) -> dict[str, DataLoader]:
        return self._loaders(self.tasks)

    @property
    def inputs(self) -> GivenPhotographs:
        """How pictures are prepared that a user gives in Python, as `predict` does it."""
        return GivenPhotographs(self.predict_size)

    def repeated_images(self) -> dict[str, Dataset]:
        """Return the images of "train" and "validate", which are the same in every epoch; views are drawn besides."""
        train: dict[str, Dataset] = {"train": self.train_set}
        return train | ({"validate": self.held_out_set} if "images" in self.tasks else {})

    @override
    def predict_dataloader(self) -> UsableBatches:
        return self.usable_batches(self.predict_set, collate_fn=FilesToPredict.collate, num_workers=self.num_workers)

    @override
    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Draw the views of a training batch, as a function of (seed, step, rank)."""
        if self.views is not None and self.trainer is not None and self.trainer.training:
            batch["views"] = self.views(batch["image"], step_generator(self.seed, self.trainer.global_step))
        return batch

    def _loaders(self, tasks: list[str]) -> dict[str, DataLoader]:
        world, size = self.seed + HELD_OUT_WORLD, self.image_size
        sets: dict[str, tuple[int, Callable[[int, int], dict[str, Any]], Callable, int]] = {
            "keypoints": (self.pairs, lambda i, s: scene_pair(world, i, size, s), SPair71k.collate, 8),
            "warps": (self.pairs, lambda i, s: _warp_pair(world, i, size, s), _collate_warps, 8),
            "video": (self.videos, lambda i, s: scene_video(world, i, size, self.frames, s), DAVIS2017.collate, 1),
            "discovery": (
                self.discoveries,
                lambda i, s: _object_discovery(world, i, size, s),
                ObjectDiscoveryData.collate,
                8,
            ),
        }
        loaders = {}
        for task in tasks:
            if task == "images":
                loader = eval_loader(
                    self.held_out_set, batch_size=self.batch_size, collate_fn=ImageFiles.collate, trainer=self.trainer
                )
                loaders[f"images@{size}"] = loader
                continue
            count, render, collate, batch_size = sets[task]
            for side in self.image_sizes:
                dataset = OnDemand(count, render, side)
                loaders[f"{task}@{side}"] = eval_loader(
                    dataset, batch_size=batch_size, collate_fn=collate, trainer=self.trainer
                )
        return loaders


def _warp_pair(world: int, index: int, size: int, side: int) -> dict[str, Any]:
    source, target, marked, wanted = render_warp(world, index, size)
    return keypoint_pair(f"warp-{index}", source, target, marked, wanted, float(size), 0, side)


def _collate_warps(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return SPair71k.collate(samples) | {"task": "warps"}


def _object_discovery(world: int, index: int, size: int, side: int) -> dict[str, Any]:
    scene: Scene = render_scene(world, index, size, most_objects=2)
    boxes = scene.boxes
    boxes = boxes[(boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])] * (side / size)
    return {"image": resized(scene.image, side), "boxes": torch.from_numpy(boxes), "image_id": f"scene-{index}"}
