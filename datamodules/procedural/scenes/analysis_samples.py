"""Samples of the tasks of the analysis of chapter 2: pictures with labels, masks of objects and parts, retrieval.

Every function renders at twice the side S of the small pictures: what is shown at S is the picture shown at 2S,
squashed and antialiased.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datamodules.common.resizing import to_tensor
from datamodules.procedural.scenes.instances import EASY, HARD, JUNK, VIEWS, render_view
from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.samples import resized, scene_pair, scene_video
from datamodules.procedural.scenes.scenes import Scene, render_scene
from datamodules.procedural.scenes.subjects import render_subject

LEAST_PIXELS = 16  # smaller objects and parts are left out
# Where the parts of a class start among all (class, part) pairs.
FIRST_PART = np.cumsum([0, *(len(item.parts) for item in CLASSES)])
FAR = 1_000_003  # from one draw of a scene to its next; the next subject is of another class
Regions = list[tuple[int, NDArray[np.bool_]]]  # (label, mask)


def picture(world: int, index: int, side: int) -> dict[str, Any]:
    """Return a labelled picture: "image" (3, S, S), "label" and "index"."""
    scene = render_subject(world, index, 2 * side)
    return {"image": resized(scene.image, side), "label": int(scene.labels[-1]), "index": index}


def salient(world: int, index: int, side: int) -> dict[str, Any]:
    """Return "image" (3, S, S) with "mask" (S, S) bool, the pixels half covered by any object."""
    scene = render_subject(world, index, 2 * side)
    mask = Image.fromarray(np.uint8(scene.instances > 0) * 255)
    half = np.asarray(mask.resize((side, side), Image.Resampling.BOX)) >= 128
    return {"image": resized(scene.image, side), "mask": torch.from_numpy(half)}


def scene_objects(world: int, index: int, side: int) -> dict[str, Any]:
    """Return "image" (3, 2S, 2S) of one to four objects, "masks" (M, 2S, 2S) bool and "label" (M,), their classes."""

    def draw(number: int) -> tuple[Scene, Regions]:
        scene = render_scene(world, number, 2 * side, tail=0.0)
        return scene, [(int(label), scene.instances == n) for n, label in enumerate(scene.labels, 1)]

    return _first_with_regions(draw, index)


def subject_parts(world: int, index: int, side: int) -> dict[str, Any]:
    """Return "image" (3, 2S, 2S) of a subject, "masks" (M, 2S, 2S) bool of parts of all objects and "label" (M,).

    A label is the place of the part among all (class, part) pairs.
    """

    def draw(number: int) -> tuple[Scene, Regions]:
        scene = render_subject(world, number, 2 * side)
        return scene, [
            (int(FIRST_PART[label]) + p, (scene.instances == n) & (scene.parts == p + 1))
            for n, label in enumerate(scene.labels, 1)
            for p in range(len(CLASSES[label].parts))
        ]

    return _first_with_regions(draw, index)


def _first_with_regions(draw: Callable[[int], tuple[Scene, Regions]], index: int) -> dict[str, Any]:
    """Return a sample of the regions that are large enough, of another scene if this one has none."""
    while True:
        scene, regions = draw(index)
        kept = [(label, mask) for label, mask in regions if mask.sum() >= LEAST_PIXELS]
        if kept:
            break
        index += FAR
    return {
        "image": to_tensor(Image.fromarray(scene.image)),
        "masks": torch.from_numpy(np.stack([mask for _, mask in kept])),
        "label": torch.tensor([label for label, _ in kept]),
    }


def database(world: int, index: int, side: int, *, instances: int) -> dict[str, Any]:
    """Return picture ``index`` of the database: the views of one instance after the other, then distractors.

    Args:
        world: seed.
        index: position in the database.
        side: S.
        instances: that have a query.
    """
    number, view = divmod(index, len(VIEWS))
    if number >= instances:
        number, view = instances + index - instances * len(VIEWS), -1
    return {"image": _instance(world, number, view + 1, side, instances), "index": index}


def query(world: int, index: int, side: int, *, instances: int) -> dict[str, Any]:
    """Return the query of an instance with the positions "easy", "hard" and "junk" of its views in the database.

    Args:
        world: seed.
        index: of the instance.
        side: S.
        instances: that have a query.
    """
    image = _instance(world, index, 0, side, instances)
    first = index * len(VIEWS)
    positions = {
        name: torch.tensor([first + view for view, each in enumerate(VIEWS) if each is change])
        for name, change in (("easy", EASY), ("hard", HARD), ("junk", JUNK))
    }
    return {"image": image, "index": index, **positions}


def _instance(world: int, number: int, view: int, side: int, instances: int) -> Tensor:
    # Distractors, whose numbers follow those of the instances, are of the same classes.
    class_index = number % min(instances, len(CLASSES))
    scene, _ = render_view(world, number, class_index, view, 2 * side)
    return resized(scene.image, side)


def pair(world: int, index: int, side: int) -> dict[str, Any]:
    """Return a sample of "keypoints" at S, see ``datamodules.dense.spair.SPair71k``."""
    return scene_pair(world, index, 2 * side, side)


def video(world: int, index: int, side: int, *, frames: int) -> dict[str, Any]:
    """Return a sample of "video" at S with masks at 2S, see ``datamodules.dense.davis.DAVIS2017``."""
    return scene_video(world, index, 2 * side, frames, side)


def dense_video(world: int, index: int, side: int, *, frames: int) -> dict[str, Any]:
    """Return the same video with frames at 2S, a sample of "dense-video"."""
    return scene_video(world, index, 2 * side, frames, 2 * side) | {"task": "dense-video"}


def collate_regions(task: str, samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Make a batch of the one image of "objects" or "parts"."""
    (sample,) = samples
    return {"task": task, **sample, "image": sample["image"][None]}
