"""What every callback that writes predictions to files shares."""

import hashlib
import os
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException
from typing_extensions import override

from visionscapes.errors import UserError
from visionscapes.files import make_folder
from visionscapes.processes import gather_entries, gather_objects


class PredictionWriter(Callback, ABC):
    """Base of the callbacks that write what ``predict_step`` returns for batches of a task, usually "predict".

    A subclass implements ``accepts``, ``write_batch`` and ``conclude``:

    - one file or several files an item: ``write_batch`` writes them, on every process, for its own items;
    - one table for all items: ``write_batch`` returns the rows, and ``conclude``, which gets those of all processes,
      writes the table;
    - files that appear all together when the last item is done, or not at all: ``write_batch`` writes each to the path
      that ``staged_path`` gives, and they move to the folder ``folder`` of the run folder before ``conclude``.

    Predictions are on the disk and not returned by ``Trainer.predict``.

    Attributes:
        needed: what the module has to predict, in the plural, such as "dense features".
        remedy: what to do where it predicts something else; ", or leave the callback out" follows.
        item: what one staged file holds, such as "translation".
        folder: of the staged files, in the run folder.
        clash: what to do where two items would share a staged file.
        task: of the batches whose predictions are written.

    Raises:
        UserError: a module whose ``predict_step`` returns something else; two staged files of one name.
    """

    needed: ClassVar[str]
    remedy: ClassVar[str]
    item: ClassVar[str] = "prediction"
    folder: ClassVar[str] = "predictions"
    clash: ClassVar[str] = "give the inputs names that differ"
    task: ClassVar[str] = "predict"

    def __init__(self) -> None:
        self._records: dict[str, Any] = {}
        self._staged: dict[str, str] = {}  # names of files by their lower-case form

    @abstractmethod
    def accepts(self, outputs: Any) -> bool:
        """Return whether the module predicted what this callback writes."""

    @abstractmethod
    def write_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: Any
    ) -> Mapping[str, Any]:
        """Write the files of the items of a batch.

        Args:
            trainer: of the run.
            pl_module: that predicted.
            batch: of the task.
            outputs: of ``predict_step``, accepted by ``accepts``.

        Returns:
            A record for each item by its name, for ``conclude``; it can be pickled. All are kept in memory: let them
            be small.
        """

    @abstractmethod
    def conclude(self, trainer: Trainer, records: Mapping[str, Any]) -> str | None:
        """Write what is about all items; called on the first process.

        Args:
            trainer: of the run.
            records: of the items of all processes by name.

        Returns:
            The line that is printed at the end, with the number of items and where they are; None for none.
        """

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget earlier predictions, and take away the staged files of a run that was interrupted."""
        self._records, self._staged = {}, {}
        trainer.predict_loop.return_predictions = False
        self._discard(trainer)
        gather_objects(None)  # no process writes before that

    @override
    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(batch, Mapping) or batch.get("task") != self.task:
            return
        if not self.accepts(outputs):
            raise UserError(
                f"{type(self).__name__} needs {self.needed}, which {type(pl_module).__name__} does not predict: "
                f"{self.remedy}, or leave the callback out"
            )
        self._records |= self.write_batch(trainer, pl_module, batch, outputs)
        if trainer.received_sigterm:  # which Lightning heeds in training and evaluation alone
            raise SIGTERMException

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put together what all processes have, let staged files appear, and print the summary.

        Raises:
            UserError: items of two processes would share a staged file.
        """
        records, self._records = gather_entries(self._records), {}
        staged, self._staged = [list(names.values()) for names in gather_objects(self._staged)], {}
        try:
            self._check_distinct(list(chain.from_iterable(staged)))
            if not trainer.is_global_zero:
                return
            finished = self.finished_folder(trainer)
            for name in chain.from_iterable(staged):
                make_folder(finished)
                (self._staging(trainer) / name).replace(finished / name)
            summary = self.conclude(trainer, records)
            if summary:
                print(summary)
        finally:
            self._discard(trainer)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take away staged files."""
        if trainer.predicting:
            self._discard(trainer)

    def staged_path(self, trainer: Trainer, name: str, suffix: str) -> Path:
        """Return where to write a file that appears as ``name`` and ``suffix`` in ``folder`` when all items are done.

        Args:
            trainer: of the run.
            name: of the item, without folders.
            suffix: of the file, such as ".png".

        Raises:
            UserError: it is no name of a file, or that of an earlier one, also where only upper and lower case differ,
                which are one file on some machines.
        """
        if name in ("", ".", "..") or any(character in name for character in "/\\\0"):
            raise UserError(f"'{name}' is no name of a file to write a {self.item} to: rename the input")
        file_name = f"{name}{suffix}"
        self._check_distinct([*filter(None, [self._staged.get(file_name.casefold())]), file_name])
        self._staged[file_name.casefold()] = file_name
        make_folder(self._staging(trainer))
        return self._staging(trainer) / file_name

    def finished_folder(self, trainer: Trainer) -> Path:
        """Return the folder in which staged files appear."""
        return Path(trainer.default_root_dir) / self.folder

    def _staging(self, trainer: Trainer) -> Path:
        return Path(trainer.default_root_dir) / f"{self.folder}.part"

    def _discard(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            shutil.rmtree(self._staging(trainer), ignore_errors=True)

    def _check_distinct(self, names: list[str]) -> None:
        counts = Counter(name.casefold() for name in names)
        if twice := [name for name in names if counts[name.casefold()] > 1]:
            raise UserError(f"{len(twice)} {self.item}s would share a file, such as '{twice[0]}': {self.clash}")


def path_below(path: str | Path, root: str | Path | None) -> Path | None:
    """Return the path of an input below the folder of the data, None if it lies elsewhere.

    Args:
        path: of the input.
        root: of the data; None if there is none.
    """
    absolute = Path(os.path.abspath(path))  # not resolve(): a link keeps its own name
    if root is not None and absolute.is_relative_to(os.path.abspath(root)):
        return absolute.relative_to(os.path.abspath(root))
    return None


def name_of_files(path: str | Path, root: str | Path | None) -> Path:
    """Return what the files about an input are named by, so that no two inputs share one.

    Args:
        path: of the input.
        root: of the data; None if there is none.

    Returns:
        Its path below ``root``; elsewhere its name in a folder that stands for its own.
    """
    below = path_below(path, root)
    if below is not None:
        return below
    absolute = Path(os.path.abspath(path))
    folder = hashlib.sha256(os.fsencode(absolute.parent)).hexdigest()[:8]
    return Path(f"{absolute.parent.name}-{folder}", absolute.name)


def name_in_table(path: str, root: str | Path | None) -> str:
    """Return what an input is called in a table: its path below ``root``, or the path that was given elsewhere."""
    below = path_below(path, root)
    return path if below is None else below.as_posix()


def root_of_data(trainer: Trainer) -> Path | None:
    """Return the folder of the data that are predicted, None if they have none."""
    data = getattr(trainer, "datamodule", None)
    root = getattr(data, "predict_root", getattr(data, "root", None))
    return None if root is None else Path(root)
