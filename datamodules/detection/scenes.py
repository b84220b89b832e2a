"""Crowded procedural scenes as a data set for detection, complete or sparsely annotated.

``python -m datamodules.detection_scenes <folder>`` writes them as COCO does, pictures and JSON with masks.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from PIL import Image
from typing_extensions import override

from datamodules.common.evaluation import known_tasks
from datamodules.common.inputs import Inputs
from datamodules.common.loading import check_global_batch
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.datamodule import DetectionDataModule, PictureSide
from datamodules.detection.second_view import SecondView
from datamodules.detection.sparse.splits import DEFAULTS, check_split, choose_removed
from datamodules.detection.synthetic import SyntheticPictures
from datamodules.procedural.scenes.crowds import Crowd, recognisable, render_crowd
from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from datamodules.procedural.scenes.scenes import generator
from datamodules.procedural.scenes.styles import STYLES, in_style
from visionscapes.checks import (
    Among,
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    Percent,
    PositiveInt,
    Workers,
    check_options,
    check_rising,
    check_value,
    option_annotations,
)
from visionscapes.errors import UserError, tell
from visionscapes.files import atomic_write, write_text

NAMES = tuple(each.name for each in CLASSES)
STYLE = 8  # stream of random numbers, apart from that of the scene itself


@dataclass(frozen=True)
class Picture:
    """A picture in memory, as `AnnotatedImage.read` gives it."""

    pixels: np.ndarray

    def __call__(self) -> np.ndarray:
        """Return (H, W, 3) uint8 RGB."""
        return self.pixels


class DetectionScenes(DetectionDataModule):
    """The embedded world for detection: crowded scenes of twelve long-tailed classes.

    A sparse split (thesis 3.3.2) is drawn over the training scenes as ``datamodules.sparse_annotations`` draws it over
    a file; what it removes stays known as "removed_boxes". Evaluation scenes are of another world and complete.

    Args:
        scenes: rendered scenes to train on.
        test_scenes: to evaluate on.
        image_size: side of the square scenes in pixels.
        objects: fewest and most objects of a scene.
        tail: exponent of the class frequencies: the k-th class is as frequent as 1 / k**tail.
        split: sparse split "1" to "5" or "siod"; all annotations if None.
        percent: how much splits 1, 2, 3 and 5 remove.
        level: "easy", "hard" or "extreme", how much split 4 removes.
        labelled_classes: only objects of the first so many classes are annotated in training, as in the recall study of
            section 3.3.7; `known` then lists their labels.
        unlabelled_scenes: further training scenes without any annotation, as in the SSL+SAOD setting of table 3.3.
        batch_size: pictures a batch and process.
        num_workers: processes that load.
        seed: of the world, the split, order, flips and views.
        train_sizes: shorter sides in pixels, one of which is drawn for every picture; the scenes' own if None.
        with_masks: whether batches hold "masks".
        second_view: draws "second_view", for methods that compare two views.
        pictures: to predict: a file, a folder, a pattern such as "photos/*.jpg", or a list of these; those that are
            evaluated if None.
        skip_unreadable: leave out pictures to predict that cannot be read, and say which.
        synthetic: generated pictures to train on too, see `SyntheticPictures`.
        styles: in which the scenes to evaluate on are shown, each in all of them, as "sketch", "grey", "weather" or
            "cartoon": what COCO-O is to COCO. Pictures are then called "<style>/<number of the scene>", and ``domains``
            and ``domain_of`` tell styles apart for ``callbacks.DomainEvaluation``. In their own alone if empty.
        test_size: side in pixels to which scenes to evaluate on are resized; their own if None.

    Raises:
        UserError: a number below its least, an unknown style, or a split without its percent or level, or the other
            way round.
    """

    classes = NAMES
    # Thirds of the long tail, named as the groups of LVIS: frequent, common and rare classes.
    class_groups: ClassVar[dict[str, np.ndarray]] = dict(
        zip("fcr", np.array_split(np.arange(len(NAMES)), 3), strict=True)
    )

    def __init__(
        self,
        scenes: PositiveInt = 240,
        test_scenes: PositiveInt = 200,
        image_size: PictureSide = 128,
        objects: list[Annotated[int, Bounds(least=1, most=200), Among(2, 2)]] = [3, 9],  # noqa: B006 (read only, and the help shows it)
        tail: NonNegativeFloat = 0.7,
        split: Literal["1", "2", "3", "4", "5", "siod"] | None = None,
        percent: Percent | None = None,
        level: Literal["easy", "hard", "extreme"] | None = None,
        labelled_classes: Annotated[int, Bounds(least=1, most=len(NAMES) - 1)] | None = None,
        unlabelled_scenes: NonNegativeInt = 0,
        batch_size: PositiveInt = 8,
        num_workers: Workers = 0,
        seed: NonNegativeInt = 0,
        train_sizes: list[Annotated[PictureSide, Among(1)]] | None = None,
        with_masks: bool = False,
        second_view: SecondView | None = None,
        pictures: Inputs | None = None,
        skip_unreadable: bool = False,
        synthetic: SyntheticPictures = SyntheticPictures(),
        styles: list[str] = [],  # noqa: B006
        test_size: PictureSide | None = None,
    ):
        check_options(DetectionScenes, locals())
        sizes = [image_size] if train_sizes is None else train_sizes
        test_size = image_size if test_size is None else test_size
        longest = 2 * max([*sizes, image_size, test_size])
        super().__init__(
            batch_size,
            num_workers,
            seed,
            train_sizes=sizes,
            longest=longest,
            test_size=test_size,
            with_masks=with_masks,
            second_view=second_view,
            pictures=pictures,
            skip_unreadable=skip_unreadable,
            synthetic=synthetic,
        )
        check_rising(DetectionScenes, objects=objects)
        if split is not None:
            check_split(split, percent, level, seed, DEFAULTS)
        elif percent is not None or level is not None:
            raise UserError(f"percent is {percent} and level {level} without a split that they are for: give split")
        self.counts = scenes, test_scenes, unlabelled_scenes
        self.image_size, self.crowd = image_size, Crowd((objects[0], objects[1]), tail=tail)
        self.split, self.percent, self.level = split, percent, level
        self.known = None if labelled_classes is None else list(range(labelled_classes))
        if styles:
            self.domains, self.domain_of = tuple(known_tasks(styles, tuple(STYLES), "styles")), _style_of
        self.styles = list(styles)
        self.train: Sequence[AnnotatedImage] = []
        self.test: Sequence[AnnotatedImage] = []

    @override
    def setup(self, stage: str) -> None:
        """Render the scenes and draw the split; none where pictures of the user are predicted."""
        if self.finds_pictures(stage):
            return
        scenes, test_scenes, unlabelled = self.counts
        if stage == "fit" and not self.train:
            check_global_batch(scenes + unlabelled, self.batch_size)
            records = [self._record(self.seed, k) for k in range(scenes + unlabelled)]
            self.train = self._sparse(records[:scenes]) + [without_labels(each) for each in records[scenes:]]
        if not self.test:
            self.test = self._evaluated(test_scenes)

    @override
    def training_images(self) -> Sequence[AnnotatedImage]:
        return self.train

    @override
    def evaluation_images(self) -> Sequence[AnnotatedImage]:
        return self.test

    def _evaluated(self, count: int) -> list[AnnotatedImage]:
        world = self.seed + HELD_OUT_WORLD
        if not self.styles:
            return [self._record(world, k) for k in range(count)]
        return [
            replace(self._record(world, k, style), image_id=f"{style}/{k}")
            for style in self.domains
            for k in range(count)
        ]

    def _record(self, world: int, index: int, style: str | None = None) -> AnnotatedImage:
        return scene_record(world, index, self.image_size, self.crowd, self.with_masks, style)

    def _sparse(self, records: list[AnnotatedImage]) -> list[AnnotatedImage]:
        labels = np.concatenate([each.labels for each in records])
        images = np.repeat(np.arange(len(records)), [len(each.labels) for each in records])
        removed = np.zeros(len(labels), bool)
        if self.split is not None:
            removed = choose_removed(images, labels, self.split, self.percent, self.level, seed=self.seed)
        if self.known is not None:
            removed |= ~np.isin(labels, self.known)
        return [replace(each, removed=removed[images == k]) for k, each in enumerate(records)]


def _style_of(image_id: int | str) -> str:
    return str(image_id).partition("/")[0]


def scene_record(
    world: int, index: int, size: int, crowd: Crowd, with_masks: bool = True, style: str | None = None
) -> AnnotatedImage:
    """Render a scene with the annotations of what can be recognised in it.

    Args:
        world: seed of the world.
        index: of the scene.
        size: side in pixels.
        crowd: how many objects and which.
        with_masks: whether to keep their masks.
        style: to show it in, see ``datamodules.procedural.scenes.styles``; its own if None.
    """
    scene = render_crowd(world, index, size, crowd)
    image = scene.image if style is None else in_style(scene, style, generator(world, index, STYLE))
    kept = np.nonzero(recognisable(scene))[0]
    masks = [scene.instances == n + 1 for n in kept]
    none = np.zeros(len(kept), bool)
    return AnnotatedImage(
        image_id=index,
        read=Picture(image),
        size=(size, size),
        boxes=scene.boxes[kept],
        labels=scene.labels[kept],
        ignored=none,
        removed=none,
        areas=np.array([mask.sum() for mask in masks], np.float32),
        ids=1000 * index + kept.astype(np.int64) + 1,
        masks=tuple(compress(mask) for mask in masks) if with_masks else None,
    )


def compress(mask: np.ndarray) -> dict:
    """Return a mask (H, W) bool as compressed COCO RLE."""
    from pycocotools import mask as rle

    return rle.encode(np.asfortranarray(mask, np.uint8))


def without_labels(record: AnnotatedImage) -> AnnotatedImage:
    """Return a picture all of whose annotations are known but not trained on."""
    return replace(record, removed=np.ones(len(record.labels), bool))


def write_coco(folder: Path, images: Sequence[AnnotatedImage], part: str) -> Path:
    """Write pictures and annotations in COCO's layout.

    Args:
        folder: gets <part>2017/*.png and annotations/instances_<part>2017.json.
        images: the records, with masks.
        part: "train" or "val".

    Returns:
        The path of the JSON.
    """
    entries, annotations = [], []
    pictures = folder / f"{part}2017"
    for image in images:
        name, (height, width) = f"{int(image.image_id):012}.png", image.size
        with atomic_write(pictures / name) as file:
            Image.fromarray(image.read()).save(file, "PNG")
        entries.append({"id": int(image.image_id), "file_name": name, "height": height, "width": width})
        for k, (x1, y1, x2, y2) in enumerate(image.boxes.tolist()):
            mask = (image.masks or ())[k]
            annotations.append(
                {
                    "id": int(image.ids[k]),
                    "image_id": int(image.image_id),
                    "category_id": int(image.labels[k]) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(image.areas[k]),
                    "iscrowd": 0,
                    "segmentation": {"size": [height, width], "counts": mask["counts"].decode()},
                }
            )
    categories = [{"id": k, "name": name, "supercategory": "scene"} for k, name in enumerate(NAMES, 1)]
    path = folder / "annotations" / f"instances_{part}2017.json"
    write_text(path, json.dumps({"images": entries, "annotations": annotations, "categories": categories}))
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Write scenes as asked and return the exit status: 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m datamodules.detection_scenes", description=__doc__)
    parser.add_argument("folder", type=Path, help="gets train2017, val2017 and annotations, as COCO has them")
    parser.add_argument("--scenes", type=int, default=240, help="to train on")
    parser.add_argument("--test_scenes", type=int, default=200, help="to evaluate on")
    parser.add_argument("--image_size", type=int, default=128, help="side in pixels")
    parser.add_argument("--seed", type=int, default=0, help="of the world")
    asked = parser.parse_args(arguments)
    try:
        for option in ("scenes", "test_scenes", "image_size", "seed"):
            check_value(option, getattr(asked, option), option_annotations(DetectionScenes)[option])
    except UserError as error:
        return tell(error)
    for part, world, count in (("train", 0, asked.scenes), ("val", HELD_OUT_WORLD, asked.test_scenes)):
        images = [scene_record(asked.seed + world, k, asked.image_size, Crowd()) for k in range(count)]
        print(write_coco(asked.folder, images, part))
    return 0
