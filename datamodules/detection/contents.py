"""What a part of a data set for detection holds, to be looked over before a training."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from datamodules.common.inspection.contents import Boxes, Opened, PartContents, opened
from datamodules.detection.annotations import AnnotatedImage, PictureFile
from datamodules.detection.records import CocoRecords


def detection_contents(images: Sequence[AnnotatedImage], classes: Sequence[str]) -> PartContents:
    """Return the contents of a part.

    Args:
        images: the annotated pictures.
        classes: names of the classes, by label.
    """

    def open_picture(position: int) -> Opened:
        return opened(Image.fromarray(images[position].read()))

    if isinstance(images, CocoRecords):  # arrays at once; to build every record takes as long as to read the pictures
        names = [str(path) for path in images.paths]
        coco = images.coco
        trained = ~coco.ignored & ~images.removed
        boxes, labels, of_picture, sizes = images.boxes, coco.labels, coco.images, coco.sizes
        ignored, removed = int(coco.ignored.sum()), int((images.removed & ~coco.ignored).sum())
    else:
        records = list(images)
        names = [name_of(each) for each in records]
        counts = [len(each.boxes) for each in records]
        of_picture = np.repeat(np.arange(len(records)), counts)
        sizes = np.array([each.size for each in records]).reshape(-1, 2)
        boxes = np.concatenate([np.empty((0, 4), np.float32), *(each.boxes for each in records)])
        labels = np.concatenate([np.empty(0, np.int64), *(each.labels for each in records)])
        left_out = np.concatenate([np.empty(0, bool), *(each.ignored for each in records)])
        hidden = np.concatenate([np.empty(0, bool), *(each.removed for each in records)])
        trained = ~left_out & ~hidden
        ignored, removed = int(left_out.sum()), int((hidden & ~left_out).sum())
    annotated = np.unique(of_picture[trained])
    return PartContents(
        names=names,
        open=open_picture,
        classes=list(classes),
        boxes=Boxes(
            corners=boxes[trained],
            labels=labels[trained],
            sizes=sizes[of_picture[trained]],
            empty_pictures=len(names) - len(annotated),
            ignored=ignored,
            removed=removed,
        ),
    )


def name_of(image: AnnotatedImage) -> str:
    """Return the path of a picture, or what it is called where it lies in no file."""
    return str(image.read.path) if isinstance(image.read, PictureFile) else str(image.image_id)
