"""Generated pictures with their annotations, to be filtered, and real pictures to compare with (thesis 7.2.3).

A batch is of real pictures, of generated ones, or the end of the data, which every process has; B pictures, N objects::

    "task"    "real" | "filter" | "end"
    "image"   B x (3, H, W) uint8 RGB
  of generated pictures:
    "detect"  the batch of task "detect" that a detector takes, of the same pictures
    "name"    B names, as in the manifest
    "layout"  B names that copies of one real picture have in common
    "size"    B x (height, width)
    "boxes"   B x (N, 4) float32 xyxy pixels, numpy; crowds are not among them
    "labels"  B x (N,) int64, numpy
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import read_image
from datamodules.common.inputs import Inputs, find_inputs
from datamodules.common.loading import as_it_is
from datamodules.common.reports import report
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.coco_json import categories_of, read_with_content
from datamodules.detection.datamodule import DetectionDataModule
from datamodules.detection.evidence import EvidenceStore
from datamodules.detection.generated import GeneratedFolder, layout_of
from datamodules.detection.given import GivenScenes
from datamodules.detection.picture_places import locate_pictures
from datamodules.detection.prediction import collate_to_detect
from datamodules.detection.records import CocoRecords, records
from visionscapes.checks import PositiveInt, Workers, check_options
from visionscapes.errors import UserError
from visionscapes.json_lines import read_entries
from visionscapes.processes import from_first, rank_and_world_size

EXPECTED = """
<generated>/
    annotations.json
    manifest.jsonl
    images/<picture>.png
"""


class GeneratedPictures(LightningDataModule):
    """What configs/gen2det_generate.yaml leaves, to be filtered; for ``predict`` alone.

    What is found out about a picture is kept in the folder "evidence": after an interruption, and with other thresholds
    or rules but the same networks, it is not looked at again.

    Args:
        generated: the folder that the pictures were generated into.
        images: real pictures, whose scores say how good a picture has to be: a file, folder, pattern or a list.
        real: a data module for detection whose training pictures are taken where no ``images`` are given.
        most_real: so many real pictures are looked at, evenly out of all of them.
        beside: whether what the filter writes goes beside the generated pictures, where training looks for it; to the
            run folder otherwise, so that several filters of the same pictures can be compared.
        batch_size: pictures a batch and process.
        num_workers: processes that load.

    Raises:
        UserError: a number out of its bounds; in ``setup``, the annotations cannot be read.
        DatasetNotFoundError: in ``setup``, if there are no generated pictures.
    """

    def __init__(
        self,
        generated: str,
        images: Inputs | None = None,
        real: DetectionDataModule | None = None,
        most_real: PositiveInt = 2000,
        beside: bool = True,
        batch_size: PositiveInt = 8,
        num_workers: Workers = 0,
    ):
        check_options(GeneratedPictures, locals())
        super().__init__()
        self.folder = GeneratedFolder(Path(generated).expanduser())
        self.images, self.real, self.most_real, self.beside = images, real, most_real, beside
        self.batch_size, self.num_workers = batch_size, num_workers
        self.records: CocoRecords | None = None
        self.categories: list[dict[str, Any]] = []
        self.real_pictures: Sequence[Path | AnnotatedImage] = []
        self.digests: dict[str, str] = {}
        self.evidence: EvidenceStore | None = None
        self.known: dict[str, dict[str, Any]] = {}

    @override
    def setup(self, stage: str) -> None:
        """Read the annotations; for prediction alone.

        Raises:
            UserError: for anything else.
            DatasetNotFoundError: there are none, or pictures are missing.
        """
        if stage != "predict":
            raise UserError("generated pictures are filtered by predict: python cli.py predict")
        if self.records is not None:
            return
        for path in (self.folder.annotations, self.folder.manifest):
            if not path.is_file():
                raise self._not_found(path)
        coco, content = read_with_content(self.folder.annotations)
        paths, absent = locate_pictures(coco, [self.folder.images])
        if absent.any():
            raise self._not_found(paths[int(np.flatnonzero(absent)[0])])
        self.categories = categories_of(coco, content)
        self.records = records(coco, paths, str(self.folder.annotations), evaluated=True)
        self.digests = {entry["name"]: entry["sha256"] for entry in read_entries(self.folder.manifest)}
        self.real_pictures = evenly(self._real(), self.most_real)

    @property
    def used_labels(self) -> list[int]:
        """The labels that annotations are of, ascending; none before ``setup``."""
        return [] if self.records is None else np.unique(self.records.coco.labels).tolist()

    @override
    def predict_dataloader(self) -> DataLoader:
        assert self.records is not None
        module = getattr(self.trainer, "lightning_module", None)
        inputs = getattr(module, "inputs", None)
        # Without a score of pictures nobody looks at the real ones.
        real = self.real_pictures if getattr(module, "image_score", None) is not None else []
        self._recall(module)
        fresh = [row for row in range(len(self.records)) if self.name_of(row) not in self.known]
        if self.known:
            report("%d of %d generated pictures were looked at before, by the same networks", len(self.known),
                   len(self.records))  # fmt: skip
        samples = PicturesToFilter(self.records, real, inputs)
        return DataLoader(
            dataset=BatchesToFilter(samples, list(dealt_batches(len(real), fresh, len(self.records), self.batch_size))),
            batch_size=None,
            num_workers=self.num_workers,
            collate_fn=as_it_is,  # else it would make tensors of all arrays
            generator=torch.Generator(),
        )

    @property
    def real_count(self) -> int:
        """Number of real pictures that are looked at, after ``setup``."""
        return len(self.real_pictures)

    def name_of(self, row: int) -> str:
        """Return what a generated picture is called in the manifest."""
        assert self.records is not None
        return self.records.coco.files[row].removesuffix(".png")

    def annotations_of(self, row: int) -> dict[str, Any]:
        """Return "name", "layout", "size", "boxes" and "labels" of a generated picture, as batches have them."""
        assert self.records is not None
        return annotations_of(self.records, row)

    def _recall(self, module: Any) -> None:
        """Find what is known of the pictures by the same networks; the same on all processes."""
        self.evidence, self.known = None, {}
        digest = getattr(module, "evidence_digest", None)
        if digest is None or self.trainer is None or self.records is None:
            return
        classes = [str(each["name"]) for each in self.categories]
        self.evidence = EvidenceStore(self.folder.path, digest(classes), Path(self.trainer.default_root_dir))
        rows = {self.name_of(row): row for row in range(len(self.records))}
        found = {}
        for line in self.evidence.read() if self.trainer.is_global_zero else ():
            name = line["name"]
            if name not in rows or line["sha256"] != self.digests.get(name):
                continue  # the picture is another one now, or is no longer there
            if len(line["seen"]) == len(self.annotations_of(rows[name])["boxes"]):
                found[name] = line
        self.known = from_first(found)

    def _real(self) -> Sequence[Path | AnnotatedImage]:
        if self.images is not None:
            return find_inputs(self.images, name="The real pictures", option="images").paths
        if self.real is None:
            return []
        self.real.setup("fit")
        return self.real.training_images()

    def _not_found(self, missing: str | Path) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name="The set of generated pictures",
            looked_in=self.folder.path,
            expected=EXPECTED,
            remedies=[
                "Point to its folder, --data.generated=<folder>",
                "Or make it: python cli.py predict --config configs/gen2det_generate.yaml",
            ],
            missing=missing,
        )


class PicturesToFilter(Dataset):
    """Generated pictures, then real ones, and at last the end.

    Args:
        generated: with annotations.
        real: files, or pictures of a data module.
        inputs: how pictures are prepared for the detector; None for none.
    """

    def __init__(self, generated: CocoRecords, real: Sequence[Path | AnnotatedImage], inputs: GivenScenes | None):
        self.generated, self.real, self.inputs = generated, real, inputs

    def __len__(self) -> int:
        return len(self.generated) + len(self.real) + 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index < len(self.generated):
            return self._generated(index)
        place = index - len(self.generated)
        if place == len(self.real):
            return {"task": "end"}
        item = self.real[place]
        pixels = np.array(read_image(item, upright=True)) if isinstance(item, Path) else item.read()
        return {"task": "real", "image": _tensor(pixels)}

    def _generated(self, index: int) -> dict[str, Any]:
        pixels = self.generated[index].read()
        sample = {"task": "filter", "image": _tensor(pixels), **annotations_of(self.generated, index)}
        if self.inputs is not None:
            sample["detect"] = self.inputs.sample(Image.fromarray(pixels))
        return sample


class BatchesToFilter(Dataset):
    """Batches of this process: those of real pictures are not mixed with others.

    Args:
        samples: see there.
        batches: indices of the samples of each.
    """

    def __init__(self, samples: PicturesToFilter, batches: list[list[int]]):
        self.samples, self.batches = samples, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return collate_to_filter([self.samples[place] for place in self.batches[index]])


def collate_to_filter(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a batch of samples of one task: for every key the list of the samples' values."""
    batch: dict[str, Any] = {key: [sample[key] for sample in samples] for key in samples[0]}
    if "detect" in batch:
        batch["detect"] = collate_to_detect(batch["detect"])
    return batch | {"task": samples[0]["task"]}


def annotations_of(generated: CocoRecords, row: int) -> dict[str, Any]:
    """Return "name", "layout", "size", "boxes" and "labels" of a generated picture; crowds are not among them."""
    item = generated[row]
    kept = ~item.ignored
    name = generated.coco.files[row].removesuffix(".png")
    boxes, labels = item.boxes[kept], item.labels[kept]
    return {"name": name, "layout": layout_of(name), "size": item.size, "boxes": boxes, "labels": labels}


def dealt_batches(real: int, fresh: Sequence[int], generated: int, batch_size: int) -> Iterator[list[int]]:
    """Yield the batches of this process as indices of `PicturesToFilter`: real pictures first, the end last.

    Args:
        real: number of real pictures.
        fresh: rows of the generated pictures that are to be looked at.
        generated: number of all generated pictures.
        batch_size: pictures a batch.
    """
    rank, world_size = rank_and_world_size()
    for rows in (range(generated, generated + real), fresh):
        own = list(rows[rank::world_size])
        yield from (own[place : place + batch_size] for place in range(0, len(own), batch_size))
    yield [generated + real]


def evenly(items: Sequence[Any], most: int) -> Sequence[Any]:
    """Return at most so many items, evenly out of all."""
    if len(items) <= most:
        return items
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int).tolist()]


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).contiguous()
