"""The arrays that the analysis of a ViT leaves in a run folder: how they are written, checked and read again."""

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from callbacks.results.array_files import folder_name, write_npz
from visionscapes.errors import UserError
from visionscapes.files import write_json

FOLDER = "arrays"
# Shapes by protocol and by what follows the data set's name in a key: L layers, H heads, h x w token grid, A x B the
# grid of all offsets between two tokens; "*" is any length. Keys that do not stand here are not checked.
SHAPES: dict[str, dict[str, str]] = {
    "attention": {
        "cls_map": "L H h w",
        "aligned": "L H A B",
        "distance": "L H",
        "offset": "L H 2",
        "repeating": "L",
        "cls_only": "L H",
        "examples_cls": "* L H h w",
        "examples_image": "* 3 * *",
    },
    "saliency": {"cls_head": "L H", "cls_best": "L", "spatial_head": "L H", "spatial_best": "L"},
    "similarity": {
        "index": "* *",
        "norms": "* 2L * *",
        "ratio_attention": "L 3",
        "ratio_mlp": "L 3",
        **dict.fromkeys(("cls", "spatial", "attention_skip", "attention_branch", "mlp_skip", "mlp_branch"), "* L * *"),
    },
    "clustering": dict.fromkeys(("image_cls", "image_spatial", "object", "part"), "L 3"),
    "knn": {"top1": "L", "top5": "L"},
    "retrieval": {"medium": "L", "hard": "L"},
    "probe": dict.fromkeys(("cls", "spatial", "cls_bn", "spatial_bn", "layer"), ""),
    "keypoints": dict.fromkeys(("PCK@0.1", "PCK@0.05", "PCK@0.01"), "L"),
    "video": dict.fromkeys(("J", "F", "J&F"), "L"),
    "dense-video": dict.fromkeys(("J", "F", "J&F"), "L"),
}
PROTOCOLS = tuple(SHAPES)
Protocols = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class AnalysedModel:
    """One ViT and what was measured of it.

    Args:
        name: as figures and tables show it, unlike that of every other model.
        method: how it was supervised: FS, CLIP, DINO, MoCo, MAE, BEiT, Random or any other text.
        depth: blocks.
        heads: attention heads of every block.
        patch_size: in pixels.
        image_size: side of the image in pixels.
        grid: (h, w) patch tokens.
        arrays: by protocol, then by key. An array over layers has layer 1 at index 0; fractions are in [0, 1].
    """

    name: str
    method: str
    depth: int
    heads: int
    patch_size: int
    image_size: int
    grid: tuple[int, int]
    arrays: Protocols = field(default_factory=dict, repr=False)

    def get(self, protocol: str, key: str) -> np.ndarray | None:
        """Return an array, or None where it was not measured."""
        return self.arrays.get(protocol, {}).get(key)


class StoredProtocol(Mapping[str, np.ndarray]):
    """The arrays of one npz file, each read when it is asked for, because Gram matrices of many models are large.

    Args:
        path: of the file.

    Raises:
        UserError: the file is damaged, or an array is asked for that cannot be read any more.
    """

    def __init__(self, path: Path):
        self.path = path
        self._shapes = _shapes(path)

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._shapes:
            raise KeyError(key)
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                return stored[key]
        except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile) as error:
            raise _damaged(self.path, str(error)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def check(self, protocol: str, model: AnalysedModel) -> None:
        """Compare every shape with the model's depth, heads and grid.

        Raises:
            UserError: a shape that does not fit.
        """
        (h, w), depth = model.grid, model.depth
        lengths = {"L": depth, "2L": 2 * depth, "H": model.heads, "h": h, "w": w, "A": 2 * h - 1, "B": 2 * w - 1}
        for key, shape in self._shapes.items():
            wanted = SHAPES.get(protocol, {}).get(key.rpartition("/")[2])
            if wanted is None:
                continue
            sizes = [lengths.get(name, name) for name in wanted.split()]
            if len(sizes) != len(shape) or any(a != "*" and int(a) != b for a, b in zip(sizes, shape, strict=True)):
                expected = " x ".join(map(str, sizes)) or "a single number"
                raise _damaged(self.path, f"{key} has shape {shape}, and a ViT like {model.name} gives {expected}")


def write_arrays(folder: Path, models: Sequence[AnalysedModel]) -> None:
    """Write models and their arrays below ``<folder>/arrays``; files of protocols that a model lacks stay.

    Args:
        folder: of the run.
        models: in the order in which figures and tables show them.

    Raises:
        UserError: two models of one name.
    """
    _check_names([model.name for model in models])
    top = Path(folder) / FOLDER
    for model in models:
        for protocol, arrays in model.arrays.items():
            write_npz(top / folder_name(model.name) / f"{protocol}.npz", arrays)
    described = [{f.name: getattr(model, f.name) for f in fields(model) if f.name != "arrays"} for model in models]
    write_json(top / "models.json", described)


def read_arrays(folder: Path, problems: list[str] | None = None) -> list[AnalysedModel]:
    """Return the models of a run with their arrays, in order.

    Args:
        folder: of the run; files are read from ``<folder>/arrays``.
        problems: takes what is wrong with each file that cannot be used, which is then left out; without a list the
            first such file ends the reading.

    Raises:
        UserError: no or a damaged models.json; without ``problems`` also a damaged file, or one whose shapes do not fit
            its model.
    """
    top = Path(folder) / FOLDER
    models = []
    for model in _described(top / "models.json"):
        arrays: dict[str, Mapping[str, np.ndarray]] = {}
        for path in sorted((top / folder_name(model.name)).glob("*.npz")):
            try:
                stored = StoredProtocol(path)
                stored.check(path.stem, model)
                arrays[path.stem] = stored
            except UserError as error:
                if problems is None:
                    raise
                problems.append(str(error))
        models.append(AnalysedModel(**{f.name: getattr(model, f.name) for f in fields(model)} | {"arrays": arrays}))
    return models


def _described(path: Path) -> list[AnalysedModel]:
    if not path.is_file():
        raise UserError(
            f"{path} does not exist: give the folder of a finished run of ViTAnalysis, which has the folder {FOLDER} "
            "in it"
        )
    try:
        models = [
            AnalysedModel(
                name=str(entry["name"]),
                method=str(entry["method"]),
                depth=int(entry["depth"]),
                heads=int(entry["heads"]),
                patch_size=int(entry["patch_size"]),
                image_size=int(entry["image_size"]),
                grid=(int(entry["grid"][0]), int(entry["grid"][1])),
            )
            for entry in json.loads(path.read_text())
        ]
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    _check_names([model.name for model in models])
    return models


def _check_names(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two models are called {twice[0]!r}: give every model of the analysis a name of its own")


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of an npz file, whose checksums are verified on the way."""
    shapes = {}
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            if broken is not None:
                raise _damaged(path, f"{broken} has another checksum")
            for name in archive.namelist():
                with archive.open(name) as member:
                    version = np.lib.format.read_magic(member)
                    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else _header_2_0
                    shape, _, dtype = read(member)
                if dtype.hasobject:
                    raise _damaged(path, f"{name} holds Python objects")
                shapes[name.removesuffix(".npy")] = tuple(shape)
    # zlib.error is no OSError, and zipfile raises NotImplementedError for what a flipped bit makes of its flags.
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise _damaged(path, str(error)) from error
    return shapes


def _header_2_0(member: Any) -> Any:
    return np.lib.format.read_array_header_2_0(member)


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged ({reason}): delete it and run the analysis again, or restore it from a copy")
