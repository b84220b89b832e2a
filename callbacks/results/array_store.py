"""Where the arrays of the analysis are kept: beside the runs, so that nothing is measured twice."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer

from callbacks.results.array_files import folder_name, read_npz, write_npz
from networks.vit_layers import Layered
from visionscapes.processes import from_first

Arrays = dict[str, np.ndarray]
_PLAIN = (str, int, float, bool, type(None), Path)
# Of a datamodule: what changes how fast the data come, or which of its tasks are asked for, but not the data.
_INDIFFERENT = {"num_workers", "tasks", "all_tasks", "trainer", "allow_zero_length_dataloader_with_multiple_devices"}


class ArrayStore:
    """Arrays by model, protocol, settings and data, in ``folder`` for good and in ``shown`` for the run's report.

    A file belongs to the fingerprint of a model's weights, to the settings of a protocol and to the arguments of the
    data, all of which its name holds as a digest: whatever changes leads to another file. That the content of a data
    folder has changed is not noticed; delete the store then.

    Args:
        folder: of the kept arrays, ``<runs_dir>/vit_analysis/arrays``.
        shown: of the arrays that this run reports, ``<run>/arrays``.
        models: fingerprint by name of the model.
        data: what the data depend on.
        loaders: names of all that the data have, "<task>@...", also where a run is narrowed to some of them.
        writes: whether this process writes, and reads for all.
    """

    def __init__(
        self,
        folder: Path,
        shown: Path,
        models: dict[str, str],
        data: Any,
        loaders: Sequence[str] = (),
        writes: bool = True,
    ):
        self.folder, self.shown, self.models, self.data = folder, shown, models, data
        self.loaders, self.writes = list(loaders), writes

    def find(self, model: str, protocol: str, tasks: Collection[str], settings: dict[str, Any]) -> Arrays | None:
        """Return what was kept, None if nothing was or the file is damaged; all processes return the same.

        Args:
            model: its name.
            protocol: its name.
            tasks: of the protocol; which loaders bring them counts, for data may lack some.
            settings: of the protocol.
        """
        found = read_npz(self._path(model, protocol, tasks, settings)) if self.writes else None
        return from_first(found)  # the folder need not be there on every machine

    def keep(self, model: str, protocol: str, tasks: Collection[str], settings: dict[str, Any], arrays: Arrays) -> None:
        """Write arrays, whole or not at all; see ``find`` for the arguments."""
        if self.writes:
            write_npz(self._path(model, protocol, tasks, settings), arrays)

    def show(self, protocol: str, models: dict[str, Arrays]) -> None:
        """Write the arrays of a protocol into the run's folder, where the report finds them."""
        for name, arrays in models.items():
            if self.writes:
                write_npz(self.shown / folder_name(name) / f"{protocol}.npz", arrays)

    def _path(self, model: str, protocol: str, tasks: Collection[str], settings: dict[str, Any]) -> Path:
        loaders = [name for name in self.loaders if name.partition("@")[0] in tasks]
        key = digest([self.models[model], protocol, settings, sorted(loaders), self.data])
        return self.folder / f"{folder_name(model)}-{self.models[model][:8]}" / f"{protocol}-{key}.npz"


def store_of(trainer: Trainer, module: LightningModule) -> ArrayStore:
    """Return the store of a run; one for all callbacks, made when the first of them asks."""
    store = getattr(module, "_array_store", None)
    folder = Path(trainer.default_root_dir)
    if store is None or store.shown != folder / "arrays":
        data = getattr(trainer, "datamodule", None)
        loaders = trainer.test_dataloaders if data is None else data.test_dataloader()
        names = list(loaders) if isinstance(loaders, Mapping) else []
        described = None if data is None else describe(data)
        world = trainer.world_size  # decides which images share a batch, and with that CKA
        store = ArrayStore(
            folder.parent / "arrays",
            folder / "arrays",
            {},
            data=[described, world],
            loaders=names,
            writes=trainer.is_global_zero,
        )
        module._array_store = store  # type: ignore[assignment]
    for name, vit in module.layered().items():  # type: ignore[operator]
        if name not in store.models:
            store.models[name] = fingerprint(vit)
    return store


def fingerprint(vit: Layered) -> str:
    """Return a digest of what a model computes: its class, sizes, weights, normalisation and probed layer."""
    content = hashlib.sha256(type(vit).__name__.encode())
    content.update(repr((vit.depth, vit.heads, vit.dim, vit.patch_size, vit.image_size, vit.data_size)).encode())
    content.update(repr((getattr(vit, "uniform", None), vit.probe_layer)).encode())
    for name, tensor in [*vit.named_parameters(), *vit.named_buffers()]:
        content.update(name.encode())
        content.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def describe(data: Any) -> Any:
    """Return what a datamodule's batches depend on: its class and its arguments, of its parts too."""
    if isinstance(data, list | tuple):
        return [describe(one) for one in data]
    if isinstance(data, dict):
        return {str(key): describe(value) for key, value in data.items()}
    if isinstance(data, _PLAIN):
        return str(data) if isinstance(data, Path) else data
    kept = {key: value for key, value in vars(data).items() if not key.startswith("_") and key not in _INDIFFERENT}
    return [type(data).__name__, {key: describe(value) for key, value in kept.items() if _describable(value)}]


def _describable(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) < 100 and all(_describable(one) for one in value)
    return isinstance(value, _PLAIN) or (type(value).__module__.startswith("datamodules.") and hasattr(value, "setup"))


def digest(value: Any) -> str:
    """Return a short digest of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
