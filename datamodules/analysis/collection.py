"""Several data sets to evaluate in one run."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.evaluation import only_evaluates
from visionscapes.checks import check_options
from visionscapes.errors import UserError
from visionscapes.processes import is_first

log = logging.getLogger(__name__)
# Tasks whose batches say "dataset", so that a protocol can tell the figures of several data sets apart.
TASKS_OF_SEVERAL = ("saliency", "retrieval-database", "retrieval-queries")


class Collection(LightningDataModule):
    """Several data sets as one: all their loaders for evaluation, part after part.

    Loaders keep their names, "<task>@<size>". Where several data sets serve "saliency" or retrieval at the same size,
    as `PartImageNet` and `COCOInstances` do, the loaders are named "<task>@<size>/<dataset>".

    Args:
        parts: data sets that evaluate, such as `ImageNet50` and `SPair71k`.
        skip_missing: go on without the data sets that are not found and say which; if false, the first one ends the
            run.

    Raises:
        UserError: no parts; when the loaders are made, two of one name, or a part without named loaders.
        DatasetNotFoundError: in ``setup``, if the data of a part, or with ``skip_missing`` of all parts, are missing.
    """

    def __init__(self, parts: list[LightningDataModule], skip_missing: bool = False):
        check_options(Collection, locals())
        super().__init__()
        if not parts:
            raise UserError("parts is empty: list data sets under data.init_args.parts, each with its class_path")
        self.parts, self.skip_missing = list(parts), skip_missing
        self.found: list[LightningDataModule] = []
        self.tasks: set[str] | None = None

    def only(self, tasks: Iterable[str] | None) -> None:
        """Narrow the evaluation to those of its tasks that are named, such as "images" or "video"; None takes all."""
        self.tasks = None if tasks is None else set(tasks)

    @override
    def prepare_data(self) -> None:
        for part in self.parts:
            part.prepare_data()

    @override
    def setup(self, stage: str) -> None:
        self.found = []
        missing = []
        for place, part in enumerate(self.parts):
            try:
                part.setup(stage)
                self.found.append(part)
            except DatasetNotFoundError as error:
                error.args = (of_part(str(error), place),)
                if not self.skip_missing:
                    raise
                missing.append(error)
        if not self.found:
            raise missing[0]
        if missing and is_first():
            left_out = "; ".join(f"{error.name}, looked for in {error.looked_in[0]}" for error in missing)
            log.warning("Left out %d of %d data sets, not found: %s", len(missing), len(self.parts), left_out)

    @override
    def teardown(self, stage: str) -> None:
        for part in self.found:
            part.teardown(stage)

    @override
    def test_dataloader(self) -> dict[str, DataLoader]:
        """Return the loaders of all parts by name, in order.

        Raises:
            UserError: two have one name and cannot be told apart, or a part has no named loaders.
        """
        found = [(name, part, loader) for part in self.found for name, loader in self._loaders(part).items()]
        times = Counter(name for name, _, _ in found)
        merged: dict[str, DataLoader] = {}
        for name, part, loader in found:
            dataset = getattr(part, "dataset_name", "") if name.partition("@")[0] in TASKS_OF_SEVERAL else ""
            full_name = f"{name}/{dataset}" if times[name] > 1 and dataset else name
            if full_name in merged:
                names = [type(other).__name__ for each, other, _ in found if each == name]
                raise UserError(
                    f"{' and '.join(names)} both give the loader {full_name}: keep one of them, narrow the tasks of one"
                    " with its init_args.tasks, or give one another image size"
                )
            merged[full_name] = loader
        return merged

    @override
    def val_dataloader(self) -> dict[str, DataLoader]:
        """Return the same loaders."""
        return self.test_dataloader()

    @override
    def train_dataloader(self) -> DataLoader:
        """Raise: there is nothing to train on."""
        raise only_evaluates(self)

    def _loaders(self, part: LightningDataModule) -> dict[str, DataLoader]:
        loaders = part.test_dataloader()
        if not isinstance(loaders, Mapping):
            raise UserError(
                f"{type(part).__name__} has no loaders by name and cannot be part of a Collection: give data sets that"
                " evaluate, such as ImageNet50 or SPair71k"
            )
        return {
            name: loader
            for name, loader in loaders.items()
            if self.tasks is None or name.partition("@")[0] in self.tasks
        }


def of_part(message: str, place: int) -> str:
    """Return the message of a `DatasetNotFoundError` with options that fit a part of a collection, and one way more."""
    options = message.replace("--data.init_args.", f"data.init_args.parts[{place}].init_args.")
    ways = len(re.findall(r"^  \d+\. ", message, re.MULTILINE))
    return f"{options}\n  {ways + 1}. Go on without it: --data.init_args.skip_missing=true."
