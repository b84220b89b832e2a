"""Files to predict as users have them: those that cannot be used are named, and passed over where that is asked for."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from datamodules.common.image_files import REPLACE_OR_SKIP, UnreadableImageError
from datamodules.common.inputs import printable
from datamodules.common.loading import eval_loader
from visionscapes.errors import UserError
from visionscapes.processes import gather_objects, is_first

log = logging.getLogger(__name__)
SHOWN = 20  # files at the end; each has been named when it was passed over


class PredictsFiles(LightningDataModule):
    """Base of data modules that predict files of which some may be unusable.

    What cannot be read, or is of a size that the module refuses (its ``check_image(height, width)`` raises a
    `UserError`), ends the run with its name, or is passed over with ``skip_unreadable``: named when its turn comes and
    counted at the end, over all processes. Nothing is decoded beforehand.

    A subclass sets ``predict_root`` in ``setup("predict")`` and makes its loader by ``usable_batches``.

    Attributes:
        skip_unreadable: whether files that cannot be used are passed over.
        predict_root: the folder of the files, below which their paths are the names of what is predicted; None if they
            have none in common.
    """

    skip_unreadable: bool = False
    predict_root: Path | None = None
    _batches: "UsableBatches | None" = None

    def usable_batches(
        self,
        samples: Dataset,
        *,
        collate_fn: Callable[[list[Any]], Mapping[str, Any]],
        batch_size: int = 1,
        num_workers: int = 0,
    ) -> "UsableBatches":
        """Return what ``predict_dataloader`` has to return: the batches in order, without what cannot be used.

        Args:
            samples: map-style; a file that cannot be read raises a `UserError` that names it.
            collate_fn: makes a batch of samples. Of one with "image" (B, 3, H, W) the size is checked.
            batch_size: samples a batch of one process.
            num_workers: processes that load; 0 loads in the main process.
        """
        loader = eval_loader(
            _Tried(samples) if self.skip_unreadable else samples,
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=_WithFaults(collate_fn),
            trainer=self.trainer,
        )
        module = getattr(self.trainer, "lightning_module", None)
        check = getattr(module, "check_image", None)
        self._batches = UsableBatches(loader, samples, skip=self.skip_unreadable, check=check)
        return self._batches

    @override
    def teardown(self, stage: str) -> None:
        """Say after a prediction, on the first process, what was passed over.

        Raises:
            UserError: nothing could be used.
        """
        if stage == "predict" and self._batches is not None:
            batches, self._batches = self._batches, None
            batches.tell()


class UsableBatches:
    """The batches of a loader without the samples that cannot be used.

    Args:
        loader: of batches, or None where no sample is left, each beside why others are missing.
        dataset: the samples.
        skip: whether what cannot be used is passed over; else it ends the run.
        check: raises a `UserError` for an image of a height and width in pixels that the network does not take.
    """

    def __init__(
        self,
        loader: DataLoader,
        dataset: Dataset,
        *,
        skip: bool,
        check: Callable[[int, int], None] | None = None,
    ):
        self.loader, self.dataset, self.skip, self.check = loader, dataset, skip, check
        self.faults: list[str] = []
        self.used = 0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for batch, faults in self.loader:
            for fault in faults:
                self._pass_over(fault)
            refused = None if batch is None else self._refused(batch)
            if refused is not None:
                if not self.skip:
                    raise UnreadableImageError(f"{refused}. {REPLACE_OR_SKIP}.")
                self._pass_over(refused)
            elif batch is not None:
                self.used += 1
                yield batch

    def tell(self) -> None:
        """Say how many files were passed over and why. Collective.

        Raises:
            UserError: none was used.
        """
        gathered = gather_objects((self.faults, self.used))
        faults = sorted({fault for found, _ in gathered for fault in found})
        if not faults:
            return
        count = getattr(self.dataset, "files", len(self.dataset))  # type: ignore[arg-type]
        if not any(used for _, used in gathered):
            raise UserError(f"None of the {count} files can be used; the first: {faults[0]}. Give others")
        if is_first():
            lines = [f"  {fault}" for fault in faults[:SHOWN]]
            lines += [f"  and {len(faults) - SHOWN} more, named above"] if len(faults) > SHOWN else []
            log.warning("%s", "\n".join([f"left out {len(faults)} of {count} files:", *lines]))

    def _pass_over(self, fault: str) -> None:
        if fault not in self.faults:
            self.faults.append(fault)
            log.warning("left out: %s", fault)

    def _refused(self, batch: Mapping[str, Any]) -> str | None:
        if self.check is None or "image" not in batch:
            return None
        try:
            self.check(*batch["image"].shape[-2:])
        except UserError as error:
            paths: Sequence[str] = batch.get("path", ())
            return f"cannot use the image {', '.join(map(printable, paths))}: {error}"
        return None


class _Fault(str):
    """Why there is no sample."""


class _Tried(Dataset):
    """Samples, or why there is none."""

    def __init__(self, samples: Dataset):
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> Any:
        try:
            return self.samples[index]
        except UserError as error:
            return _Fault(error.fault if isinstance(error, UnreadableImageError) and error.fault else error)


class _WithFaults:
    """Makes a batch of the samples that there are, None of none, and puts beside it why the others are missing."""

    def __init__(self, collate_fn: Callable[[list[Any]], Mapping[str, Any]]):
        self.collate_fn = collate_fn

    def __call__(self, samples: list[Any]) -> tuple[Mapping[str, Any] | None, list[str]]:
        faults = [str(each) for each in samples if isinstance(each, _Fault)]
        usable = [each for each in samples if not isinstance(each, _Fault)]
        return (self.collate_fn(usable) if usable else None), faults
