"""What a command says where the packages that it needs are not installed; needs none itself."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OURS = ("callbacks", "command_line", "datamodules", "experiments", "lightning_modules", "metrics", "networks")
INSTALLED = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "python"


@contextmanager
def told_if_missing() -> Iterator[None]:
    """End with exit status 2 and a remedy where an import in the block needs a package that is not installed.

    Raises:
        SystemExit: it does.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not package or package in (*OURS, "visionscapes"):
            raise
        print(f"error: the package {package} is not installed for {sys.executable}: {_remedy()}", file=sys.stderr)
        raise SystemExit(2) from None


def _remedy() -> str:
    if INSTALLED.is_file() and Path(sys.prefix) != INSTALLED.parents[1]:
        return f"take the Python of `make setup`, {INSTALLED}, or `make shell`"
    return "make setup installs what is needed into .venv, or pip install -c constraints.txt -e ."
