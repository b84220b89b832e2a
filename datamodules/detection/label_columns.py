"""The annotations of many pictures as columns, for statistics; no picture is opened and no mask is read."""

from collections.abc import Sequence

import numpy as np

from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.records import CocoRecords
from metrics.label_statistics import Labels


def labels_of(images: Sequence[AnnotatedImage]) -> Labels:
    """Return the annotations of pictures, without those that a sparse split took away."""
    if isinstance(images, CocoRecords):  # which would read the mask of every annotation
        coco, kept = images.coco, ~images.removed
        return Labels(
            sizes=coco.sizes,
            pictures=coco.images[kept],
            labels=coco.labels[kept],
            boxes=images.boxes[kept],
            ignored=coco.ignored[kept],
        )
    each = [(image, ~image.removed) for image in images]
    return Labels(
        sizes=np.array([image.size for image, _ in each], np.int64).reshape(-1, 2),
        pictures=np.repeat(np.arange(len(each)), [int(kept.sum()) for _, kept in each]),
        labels=_joined([image.labels[kept] for image, kept in each], np.zeros(0, np.int64)),
        boxes=_joined([image.boxes[kept] for image, kept in each], np.zeros((0, 4), np.float32)),
        ignored=_joined([image.ignored[kept] for image, kept in each], np.zeros(0, bool)),
    )


def _joined(parts: list[np.ndarray], none: np.ndarray) -> np.ndarray:
    return np.concatenate([none, *parts])
