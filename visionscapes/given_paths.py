"""Paths that a user gives in Python: those that no file system can look up are told before anything fails by them."""

import errno
import os
import re
from pathlib import Path

from visionscapes.errors import UserError

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # with one slash where `Path` has been there before
SHOWN = 80  # letters of a path that is too long


def checked_path(given: str | os.PathLike[str], name: str = "the path") -> Path:
    """Return a path that can be looked up, with ``~`` as the folder that it stands for.

    Args:
        given: what may be there or not.
        name: what errors call it.

    Raises:
        UserError: it is empty, an address of the internet, longer than file systems allow, a circle of links, or of
            the home of nobody.
    """
    text = os.fsdecode(given)
    if not text:
        raise UserError(f"{name} is an empty path: name a file")
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except RuntimeError:
        raise UserError(f"{text} is in the home of a user that there is not: write the whole path") from None
    except ValueError as error:  # a zero byte, or letters that no name can have
        raise UserError(f"{text[:SHOWN]!a} is no path ({error}): give the path of a file") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UserError(
                f"{text[:SHOWN]} ... has {len(text)} characters, more than the file system allows: give a path"
            ) from None
        if error.errno == errno.ELOOP:
            raise UserError(f"{text} is a link that leads back to itself: give the file that is meant") from None
        if ADDRESS.match(text):
            raise UserError(f"{text} is an address, and only files of this machine are read: download it") from None
    return path


def file_of(given: str | os.PathLike[str], name: str = "file") -> Path:
    """Return the path of a file that is there.

    Args:
        given: what should be one.
        name: what kind of file is looked for, such as "picture".

    Raises:
        UserError: nothing is there, a folder is, or `checked_path` refuses it.
    """
    path = checked_path(given, f"the {name}")
    if path.is_dir():
        raise UserError(f"{path} is a folder: give its files, such as sorted(Path({str(path)!r}).iterdir())")
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path} is a link to {os.readlink(path)}, which is not there: give the file that is meant")
    if not path.exists():
        raise UserError(f"there is no {name} {path}: looked in {path.absolute().parent}")
    return path
