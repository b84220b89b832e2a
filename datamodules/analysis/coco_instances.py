"""COCO val2017 with instance masks: what is salient in its pictures, and which objects they show."""

from pathlib import Path

from typing_extensions import override

from datamodules.analysis.masks import CocoFile, MaskedImage, masked_tasks, read_coco, report_skipped
from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.evaluation import Evaluated, EvaluationLoaders, known_tasks
from datamodules.common.reports import compare_count, first_names, report_left_out
from visionscapes.checks import ImageSize, PositiveInt, Workers, check_options

TASKS = ("saliency", "objects")
PUBLISHED_IMAGES = 5_000
TREE = """
<root>/
    val2017/000000000139.jpg                    (or images/val2017/)
    annotations/instances_val2017.json
"""
REMEDIES = (
    "If you have it, point to its folder: --data.init_args.root=<folder that holds val2017 and annotations>",
    "If not, download val2017.zip and annotations_trainval2017.zip from cocodataset.org and unpack both there",
)


class COCOInstances(EvaluationLoaders):
    """COCO val2017: batches of tasks "saliency" (thesis section 2.3.4) and "objects" (section 2.4.3).

    * "saliency": "image" (B, 3, S, S) float32 RGB in [0, 1], "mask" (B, S, S) bool, the union of all instances, and
      "dataset", "COCO". The shorter side is resized to S (bicubic) and the middle cut out of picture and mask; the
      crop may leave nothing of a mask, and the official code passes over such pictures.
    * "objects": one picture a batch, "image" (1, 3, H, W) with a shorter side of 2S, its aspect ratio kept, "masks"
      (M, H, W) bool, M at least 1, "label" (M,) int64, COCO's category ids (1 to 90, with gaps), and "image_id".

    Pictures come in the order of their ids. Crowds count as instances. Pictures without any instance are left out, and
    it is said how many.

    Args:
        root: the folder that holds val2017, or images/val2017, and annotations.
        tasks: "saliency", "objects".
        image_size: S, pixels.
        saliency_images: how many to take for "saliency": the first ones by id, before some are left out; 5,000 is all.
        object_images: how many to take for "objects". 1,000 in the thesis; the official code stops one earlier.
        batch_size: pictures a batch for "saliency".
        num_workers: processes that load pictures.

    Raises:
        UserError: an unknown task or a number below 1; in ``setup``, if an annotation is damaged.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    dataset_name = "COCO"

    def __init__(
        self,
        root: str,
        tasks: list[str] = ["saliency", "objects"],  # noqa: B006 (read only, and the help shows it)
        image_size: ImageSize = 224,
        saliency_images: PositiveInt = 5_000,
        object_images: PositiveInt = 1_000,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 2,
    ):
        check_options(COCOInstances, locals())
        super().__init__(num_workers)
        self.root, self.tasks = Path(root).expanduser(), known_tasks(tasks, TASKS)
        self.image_size, self.batch_size = image_size, batch_size
        self.counts = {"saliency": saliency_images, "objects": object_images}
        self.images: dict[str, list[MaskedImage]] = {}

    @override
    def setup(self, stage: str | None = None) -> None:
        """Read the annotations of the pictures that the tasks take."""
        if self.images:
            return
        annotations = self.root / "annotations" / "instances_val2017.json"
        folders = [self.root / "val2017", self.root / "images" / "val2017"]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if not annotations.is_file() or folder is None:
            raise self._not_found(str(annotations) if folder else " or ".join(map(str, folders)))
        coco = read_coco(annotations)
        compare_count("COCO val2017", "images", len(coco.images), PUBLISHED_IMAGES)
        most = max(self.counts[task] for task in self.tasks)
        masked = self._masked(coco, folder, most)
        self.images = {task: self._with_instances(task, masked[: self.counts[task]]) for task in self.tasks}

    @override
    def evaluated(self) -> dict[str, Evaluated]:
        return masked_tasks(self.images, self.image_size, self.dataset_name, self.batch_size)

    def _masked(self, coco: CocoFile, folder: Path, count: int) -> list[MaskedImage]:
        files = {image_id: folder / image["file_name"] for image_id, image in list(coco.images.items())[:count]}
        absent = [path for path in files.values() if not path.is_file()]
        if absent or not files:
            raise self._not_found(first_names(absent, self.root) if absent else f"pictures in {coco.path}")
        masked = [coco.masked(image_id, path) for image_id, path in files.items()]
        report_skipped("COCO val2017", coco.skipped)
        return masked

    def _with_instances(self, task: str, images: list[MaskedImage]) -> list[MaskedImage]:
        kept = [image for image in images if image.masks]
        missing = len(images) - len(kept)
        report_left_out(f"COCO val2017, {task}", missing, "pictures", len(images), "they have no instance")
        if not kept:
            raise self._not_found(f"a picture with an instance among the first {len(images)}")
        return kept

    def _not_found(self, missing: str) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name="COCO val2017", looked_in=self.root, expected=TREE, remedies=REMEDIES, missing=missing
        )
