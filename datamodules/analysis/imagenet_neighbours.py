"""ImageNet-1k for k-nearest neighbours: its training images are the memory, its validation images the questions."""

from collections import Counter
from functools import partial

from typing_extensions import override

from datamodules.common.evaluation import Evaluated, EvaluationLoaders, Stacked
from datamodules.common.resizing import centre_square_tensor
from datamodules.images.image_folder import ImageFiles, LabelledFiles
from datamodules.images.imagenet import ImageNet
from visionscapes.checks import ImageSize, PositiveInt, Workers, check_options


class ImageNetNeighbours(EvaluationLoaders):
    """ImageNet-1k for k-nearest neighbours (thesis section 2.5.1): batches of tasks "knn-train", then "knn-test".

    A batch holds "image" (B, 3, S, S) float32 RGB in [0, 1], "label" (B,) int64 as in `ImageNet`, and "index" (B,)
    int64, the place of the image in its part. The shorter side is resized to S (bicubic) and the middle cut out.

    Args:
        root: as of `ImageNet`, in any of its layouts.
        image_size: S, pixels.
        images_per_class: the first ones in lexical order of every class and part; null takes all, which is the
            thesis' protocol and means 1.28 million images.
        batch_size: images a batch.
        num_workers: processes that load images.

    Raises:
        UserError: a number below 1.
        DatasetNotFoundError: in ``setup``, if images, classes or labels are missing.
    """

    def __init__(
        self,
        root: str,
        image_size: ImageSize = 224,
        images_per_class: PositiveInt | None = None,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 2,
    ):
        check_options(ImageNetNeighbours, locals())
        super().__init__(num_workers)
        self.imagenet = ImageNet(root)
        self.image_size, self.images_per_class, self.batch_size = image_size, images_per_class, batch_size
        self.parts: dict[str, LabelledFiles] = {}

    @override
    def setup(self, stage: str | None = None) -> None:
        """List the images of both parts."""
        if not self.parts:
            train, val = (first_of_class(part, self.images_per_class) for part in self.imagenet.parts())
            self.parts = {"knn-train": train, "knn-test": val}

    @override
    def evaluated(self) -> dict[str, Evaluated]:
        return {
            f"{task}@{self.image_size}": Evaluated(
                ImageFiles(part, partial(centre_square_tensor, size=self.image_size)),
                Stacked(task),
                self.batch_size,
            )
            for task, part in self.parts.items()
        }


def first_of_class(part: LabelledFiles, count: int | None) -> LabelledFiles:
    """Return the first ``count`` files of every class in the order of the part, or the part itself for None."""
    if count is None:
        return part
    assert part.labels is not None, "ImageNet has labels"
    seen: Counter[int] = Counter()
    kept = []
    for position, label in enumerate(part.labels):
        seen[label] += 1
        if seen[label] <= count:
            kept.append(position)
    return LabelledFiles([part.paths[position] for position in kept], [part.labels[position] for position in kept])
