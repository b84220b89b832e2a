"""What torch has stored in a file, read without running any code that it may contain; what is wrong is told."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from visionscapes.checksums import damage_of_archive
from visionscapes.errors import UserError


def read_stored(path: Path, instead: Callable[[Path], str], beside: Callable[[Path], str]) -> Any:
    """Return the content of a checkpoint, on the CPU.

    Args:
        path: of the file.
        instead: returns the end of a message about a damaged file: what can be taken in its place.
        beside: returns the end of a message about a file that is missing.

    Raises:
        UserError: the file is missing, damaged or unsafe.
    """
    try:
        archive = zipfile.is_zipfile(path)
        if archive and (damage := damage_of_archive(path)):
            raise UserError(f"checkpoint {path} is damaged ({damage}){instead(path)}")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"checkpoint {path} does not exist{beside(path)}") from None
    except OSError as error:
        raise UserError(f"checkpoint {path} cannot be read: {error.strerror}") from None
    except UnpicklingError:
        with path.open("rb") as file:
            pickled = file.read(1) in (b"P", b"\x80")  # of an archive, of a bare pickle
        if not pickled:
            raise UserError(f"checkpoint {path} is damaged or no checkpoint{instead(path)}") from None
        raise UserError(
            f"checkpoint {path} is refused: it holds Python objects, which can run any code when they are loaded, and "
            "checkpoints of cli.py hold tensors and plain values only. If you trust its source, load it in a script of "
            "yours and save its state_dict as safetensors"
        ) from None
    except MemoryError:
        raise UserError(f"checkpoint {path} needs more memory than there is, or is damaged{instead(path)}") from None
    except Exception:  # What a damaged file raises is not documented: RuntimeError, EOFError, KeyError, ...
        raise UserError(f"checkpoint {path} is incomplete or damaged{instead(path)}") from None


def read_open(file: Any) -> Any:
    """Return the content of a checkpoint that is open as a file, such as ``io.BytesIO``, on the CPU.

    Raises:
        UserError: it is no such file, or damaged or unsafe.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # see `read_stored`
        if not callable(getattr(file, "read", None)):
            told = f"a checkpoint is a path or an open file, and {file!r} is of class {type(file).__name__}"
            raise UserError(f"{told}: give <run folder>/checkpoints/last.ckpt") from None
        raise UserError(
            f"the open file {getattr(file, 'name', file)} is no checkpoint, is damaged, or holds Python objects "
            f"({type(error).__name__}): open a checkpoint of cli.py with open(path, 'rb')"
        ) from None
