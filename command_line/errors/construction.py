"""Builds the classes that a configuration names, and says in one line what a library has against their options."""

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from traceback import walk_tb
from typing import Any

import torch
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from command_line.errors.explanations import missing_package, one_line
from command_line.errors.origin import innermost, raised_by_library
from visionscapes.errors import UserError

# What libraries raise about values. Anything else, and all that comes out of code that is no library's, is a bug.
OF_VALUES = (ValueError, TypeError, KeyError, ArithmeticError, MisconfigurationException, ImportError)

# Lightning builds the loaders of a prediction anew, and takes a batch size without a name for a second one.
TWICE = re.compile(r"more than one `__init__` argument can be passed to its parent's `(\w+)=")

LIGHTNING = {"pytorch_lightning", "lightning_fabric", "lightning_utilities"}


class Construction:
    """Calls a class, and remembers the first failure: the parser goes on with other types and hides it."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self._name = ""

    def __call__(self, class_type: type, *args: Any, **kwargs: Any) -> Any:
        """Return an object of the class."""
        try:
            return class_type(*args, **kwargs)
        except Exception as error:
            if self.failure is None:
                self.failure, self._name = error, class_type.__name__
            raise

    def explained(self, error: Exception) -> Exception:
        """Return what to raise for an error that the parser let through: of the user, or the bug behind it.

        Args:
            error: as caught around the construction of all classes.
        """
        if self.failure is not None:
            failure = self.failure
        else:
            causes = list(_causes(error))
            failure = next((cause for cause in causes if isinstance(cause, UserError)), causes[-1])
        if isinstance(failure, UserError):
            return failure
        return of_memory(failure, self._name) or of_library(failure, self._name) or failure


def _causes(error: Exception) -> Iterator[Exception]:
    """Yield an error, what it was raised from, and so on."""
    cause: BaseException | None = error
    while isinstance(cause, Exception):
        yield cause
        cause = cause.__cause__


def of_library(error: BaseException, subject: str) -> UserError | None:
    """Return the error of the user that a library complains of; None for a bug.

    Args:
        error: as caught.
        subject: class or option that the library was asked for; "" if its message is enough.
    """
    missing = missing_package(str(error)) or _missing_module(error)
    if missing:
        named = re.search(r"`([A-Z]\w+)[`(]", str(error))
        what = named[1] if named else subject.partition(" cannot ")[0] or "the configuration"
        return UserError(f"{what} needs the package {missing}, which is not installed: pip install '{missing}'")
    of_values = isinstance(error, OF_VALUES) or (isinstance(error, RuntimeError) and innermost(error) in LIGHTNING)
    if not of_values or not raised_by_library(error):
        return None
    return UserError(f"{subject}: {one_line(str(error))}" if subject else one_line(str(error)))


def of_memory(error: BaseException, subject: str) -> UserError | None:
    """Return the error of the user who asks for more memory than there is; None for an error of another kind.

    Args:
        error: as caught, of Python or of torch, on the CPU or a GPU.
        subject: what needs the memory; "" if that is not known.
    """
    text = one_line(str(error))
    if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text):
        return None
    found = re.search(r"ried to allocate ([\d.]+ \w+)", text)
    asked = f" for {found[1]} at once" if found else ""
    who = subject or "the configuration"
    return UserError(f"{who} needs more memory than there is{asked}: choose smaller sizes, as of --data.batch_size")


def of_image_size(error: BaseException, module: str) -> UserError | None:
    """Return the error of the user whose images a ViT of timm does not take; None for an error of another kind.

    Args:
        error: as caught.
        module: name of the module's class.
    """
    text = one_line(str(error))
    of_size = isinstance(error, AssertionError) and re.match(r"Input (image )?(height|width) \(\d+\) ", text)
    if not (of_size and innermost(error) in ("timm", "torch")):  # torch has the assertion that timm makes
        return None
    return UserError(f"{module}: {text.rstrip('.')}: choose sizes of images, or of patches, that go together")


def of_service(error: BaseException) -> UserError | None:
    """Return the error of the user whom W&B refuses; None for an error of another kind."""
    if type(error).__module__.partition(".")[0] != "wandb":
        return None
    return UserError(f"W&B: {one_line(str(error)).rstrip('.')}; without a network, set WANDB_MODE=offline")


def of_file(error: OSError) -> UserError | None:
    """Return the error of the user who named a file that a library cannot use; None for a bug."""
    if error.filename is None or not raised_by_library(error):
        return None
    return UserError(f"{error.filename} cannot be read or written ({error.strerror}): name another place")


def of_batch(error: BaseException, module: str) -> UserError | None:
    """Return the error of the user whose data do not go with the module; None for an error of another kind.

    Args:
        error: as caught: the module asked a batch for what it does not hold.
        module: name of its class.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    batch = frames[-1].f_locals.get("batch") if frames else None
    if not (isinstance(error, KeyError) and isinstance(batch, Mapping) and error.args[0] not in batch):
        return None
    holds = ", ".join(map(str, batch))
    return UserError(
        f"{module} needs {error.args[0]!r} in a batch, and those of the data hold {holds}: an option of --data "
        "gives it, or other data do"
    )


def of_lightning(error: BaseException) -> UserError | None:
    """Return the error of the user that Lightning complains of in a run; None for a bug.

    An error of a loader's worker comes out of torch, with no trace of whose code it was: it stays as it is.
    """
    if not isinstance(error, ValueError | MisconfigurationException | ImportError):
        return None
    if twice := TWICE.search(str(error)):
        named = f"give {twice[1]} by name, as in DataLoader(dataset, {twice[1]}=...)"
        return UserError(f"Lightning builds the data loader anew here and cannot: in the data module, {named}")
    return of_library(error, "") if innermost(error) in LIGHTNING else None


def _missing_module(error: BaseException) -> str:
    """Return the package that an import did not find; nothing if it is there, and one of its modules is not."""
    name = ((error.name or "") if isinstance(error, ModuleNotFoundError) else "").partition(".")[0]
    return name if name and find_spec(name) is None else ""
