"""Revisited Oxford and Paris: photographs of buildings to be found by a photograph of the same building."""

import pickle
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageFile
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.evaluation import Evaluated, EvaluationLoaders, Stacked, known_tasks
from datamodules.common.file_names import refuse_escape
from datamodules.common.image_files import read_image
from datamodules.common.reports import compare_count, first_names
from datamodules.common.resizing import centre_square_tensor
from visionscapes.checks import ImageSize, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

NAMES = {"roxford5k": "ROxford5k", "rparis6k": "RParis6k"}
PUBLISHED = {"roxford5k": (4_993, 70), "rparis6k": (6_322, 70)}  # pictures of the database, queries
TREE = """
<root>/
    roxford5k/{gnd_roxford5k.pkl,jpg/all_souls_000013.jpg}
    rparis6k/{gnd_rparis6k.pkl,jpg/paris_defense_000605.jpg}
"""
REMEDIES = (
    "If you have them, point to their folder: --data.init_args.root=<folder that holds roxford5k>; if you have one of"
    " them, name it: --data.init_args.datasets=[roxford5k]",
    "If not, the script python/download.py of the repository filipradenovic/revisitop gets the photographs"
    " (oxbuild_images, paris_1 and paris_2, all files flat in jpg/) and the ground truth gnd_*.pkl",
)
RELEVANCE = ("easy", "hard", "junk")
# What a pickle of lists, dictionaries and numpy arrays needs. Everything else could run code.
HARMLESS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),  # how protocols up to 2 write the bytes of an array,
    ("__builtin__", "bytes"),  # and of an empty one
}


@dataclass(frozen=True)
class Query:
    """A query: the file, the box of the building (xyxy, pixels) and places in the database by relevance."""

    path: Path
    box: tuple[float, float, float, float]
    relevant: dict[str, Tensor]


@dataclass(frozen=True)
class Benchmark:
    """One of the two data sets: the files of the database, in the order that the places count, and the queries."""

    database: list[Path]
    queries: list[Query]


class RevisitedRetrieval(EvaluationLoaders):
    """ROxford5k and RParis6k (thesis section 2.5.1): batches of "retrieval-database" and "retrieval-queries".

    * "retrieval-database": "image" (B, 3, S, S) float32 RGB in [0, 1], "index" (B,) int64, the place in the database,
      and "dataset", "ROxford5k" or "RParis6k";
    * "retrieval-queries": the same, "index" the number of the query, with "easy", "hard" and "junk", lists of B int64
      tensors of places in the database, which may be empty.

    As in the official code, pictures are first reduced to a longer side of S and then resized to a shorter side of S
    (bicubic) and cropped to the middle. It does not cut the queries to their boxes either, unlike the protocol of the
    benchmark's authors, with whose figures its own cannot be compared. Pictures that break off are read as far as they
    go, because the Paris set has some. Files that the ground truth does not list are ignored.

    With both data sets, the loaders are named "<task>@<S>/<dataset>".

    Args:
        root: the folder that holds roxford5k and rparis6k; of a single data set, its own folder does too.
        datasets: "roxford5k", "rparis6k".
        image_size: S, pixels.
        crop_queries: cut the queries to the boxes of their buildings.
        batch_size: pictures a batch.
        num_workers: processes that load pictures.

    Raises:
        UserError: an unknown data set or a number below 1; in ``setup``, if a ground truth is none or holds objects
            that could run code.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    def __init__(
        self,
        root: str,
        datasets: list[Literal["roxford5k", "rparis6k"]] = ["roxford5k", "rparis6k"],  # noqa: B006
        image_size: ImageSize = 224,
        crop_queries: bool = False,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 2,
    ):
        check_options(RevisitedRetrieval, locals())
        super().__init__(num_workers)
        self.root, self.datasets = Path(root).expanduser(), known_tasks(datasets, tuple(NAMES), "datasets")
        self.image_size, self.crop_queries, self.batch_size = image_size, crop_queries, batch_size
        self.benchmarks: dict[str, Benchmark] = {}

    @override
    def setup(self, stage: str | None = None) -> None:
        """Read the ground truth and look for the files."""
        if not self.benchmarks:
            self.benchmarks = {name: self._benchmark(name) for name in self.datasets}

    @override
    def evaluated(self) -> dict[str, Evaluated]:
        found = {}
        for key, benchmark in self.benchmarks.items():
            name = NAMES[key]
            suffix = f"@{self.image_size}" + (f"/{name}" if len(self.benchmarks) > 1 else "")
            database = Photographs(benchmark.database, self.image_size)
            queries = Queries(benchmark.queries, self.image_size, self.crop_queries)
            stacked = Stacked("retrieval-database", dataset=name), Stacked("retrieval-queries", RELEVANCE, dataset=name)
            found[f"retrieval-database{suffix}"] = Evaluated(database, stacked[0], self.batch_size)
            found[f"retrieval-queries{suffix}"] = Evaluated(queries, stacked[1], self.batch_size)
        return found

    @property
    @override
    def dataset_name(self) -> str:  # type: ignore[override]
        """Name of the data set as batches give it."""
        return " and ".join(NAMES[name] for name in self.datasets)

    def _benchmark(self, name: str) -> Benchmark:
        own = len(self.datasets) == 1 and not (self.root / name).is_dir()
        folder = self.root if own else self.root / name
        truth = folder / f"gnd_{name}.pkl"
        if not truth.is_file():
            raise self._not_found(str(truth))
        benchmark = read_truth(truth, folder / "jpg")
        paths = benchmark.database + [query.path for query in benchmark.queries]
        absent = [path for path in paths if not path.is_file()]
        if absent:
            raise self._not_found(first_names(absent, self.root))
        compare_count(NAMES[name], "pictures in the database", len(benchmark.database), PUBLISHED[name][0])
        compare_count(NAMES[name], "queries", len(benchmark.queries), PUBLISHED[name][1])
        return benchmark

    def _not_found(self, missing: str) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name="Revisited Oxford and Paris", looked_in=self.root, expected=TREE, remedies=REMEDIES, missing=missing
        )


class Photographs(Dataset):
    """The pictures of a database at one size; see `RevisitedRetrieval` for what a sample holds."""

    def __init__(self, paths: Sequence[Path], size: int):
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": prepared(self.paths[index], self.size), "index": index}


class Queries(Dataset):
    """The queries at one size, cut to their boxes or not; see `RevisitedRetrieval` for what a sample holds."""

    def __init__(self, queries: Sequence[Query], size: int, crop: bool):
        self.queries, self.size, self.crop = queries, size, crop

    def __len__(self) -> int:
        return len(self.queries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        query = self.queries[index]
        image = prepared(query.path, self.size, query.box if self.crop else None)
        return {"image": image, "index": index, **query.relevant}


def prepared(path: Path, size: int, box: tuple[float, float, float, float] | None = None) -> Tensor:
    """Return a picture (3, size, size) float32 in [0, 1], cut to a box (xyxy in pixels) before it is reduced."""
    with truncated_images():
        image = read_image(path)
    image = image if box is None else image.crop(tuple(map(round, box)))  # type: ignore[arg-type]
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return centre_square_tensor(image, size)


_switch = threading.Lock()


@contextmanager
def truncated_images() -> Iterator[None]:
    """Let Pillow fill up what is missing of a file that breaks off, and put its switch back afterwards."""
    with _switch:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


class HarmlessUnpickler(pickle.Unpickler):
    """Reads containers, numbers, texts and numpy arrays, and refuses everything that could run code."""

    @override
    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core.", "numpy._core.")  # as numpy 1 calls it
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no list of names and numbers needs")
        return super().find_class(module, name)


def read_truth(path: Path, images: Path) -> Benchmark:
    """Read the ground truth of one data set.

    Args:
        path: of gnd_<data set>.pkl, whose places in the database count from 0 (those of the older .mat from 1).
        images: the folder of the pictures.

    Raises:
        UserError: the file is no such ground truth, or holds objects that could run code.
    """
    try:
        with path.open("rb") as file:
            content = HarmlessUnpickler(file, encoding="latin1").load()
        database = [images / f"{name}.jpg" for name in content["imlist"]]
        names, truths = content["qimlist"], content["gnd"]
        refuse_escape([*content["imlist"], *names], path)
        queries = [
            Query(
                images / f"{name}.jpg",
                tuple(float(number) for number in truth["bbx"]),  # type: ignore[arg-type]
                {kind: places(truth[kind], len(database)) for kind in RELEVANCE},
            )
            for name, truth in zip(names, truths, strict=True)
        ]
        if not database or not queries or any(len(query.box) != 4 for query in queries):
            raise ValueError("it lists no pictures, no queries, or boxes that are none")
    except UserError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise UserError(
            f"{path} is not the ground truth of {path.stem.removeprefix('gnd_')} ({error}): get the original file "
            "from the repository filipradenovic/revisitop"
        ) from error
    return Benchmark(database, queries)


def places(values: Any, count: int) -> Tensor:
    """Return places in a database of ``count`` pictures as an int64 tensor; an empty list stays of that type.

    Raises:
        ValueError: a place is no whole number or lies outside the database.
    """
    array = np.asarray(values).reshape(-1)
    found = array.astype(np.int64)
    if (found != array).any() or (len(found) and not 0 <= found.min() <= found.max() < count):
        raise ValueError(f"a place outside of the {count} pictures, 0 to {count - 1}")
    return torch.from_numpy(found)
