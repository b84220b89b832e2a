"""The one entry point: ``python cli.py fit | validate | test | predict | export --config FILE [--KEY VALUE ...]``.

This file turns whatever happens into an exit status and, for mistakes of the user, into one line on stderr:
0 done, 2 the user's input, 130 Ctrl-C, 143 SIGTERM (with a checkpoint), 1 a bug (with its traceback).
``command_line.lightning_cli`` does the work, and ``command_line.own_command_line`` that of subcommands of our own: both
are imported only when there is work, for torch takes seconds to import.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from visionscapes.missing_packages import told_if_missing

with told_if_missing():
    from command_line import help as help_text
    from command_line import quick_imports
    from command_line.errors.refusals import explain_refusal
    from command_line.run.job import check_environment
    from command_line.run.termination import TERMINATED, ended_by_sigterm
    from visionscapes.errors import UserError
    from visionscapes.search_path import append_working_directory

if TYPE_CHECKING:
    from command_line.lightning_cli import CommandLine

USER_ERROR, INTERRUPTED = 2, 130


def main(args: list[str] | None = None) -> "CommandLine":
    """Run a command.

    Args:
        args: words of the command line after the program's name; those of this process if None.

    Returns:
        The finished command line, with its ``trainer``, ``model``, ``datamodule`` and ``run_folder``.

    Raises:
        SystemExit: the command printed help, was wrong, or was interrupted.
    """
    args = sys.argv[1:] if args is None else list(args)
    try:
        with ended_by_sigterm(), environment_restored():
            check_environment(os.environ)  # Lightning takes some for numbers as soon as it is imported
            append_working_directory()
            text = help_text.answer(args)
            if text is not None:
                print(text)
                raise SystemExit(0)
            with quick_imports.no_garbage_collection(), told_if_missing():
                quick_imports.import_lightning()
                from command_line.own_command_line import command_line_of

            return command_line_of(args)
    except UserError as error:
        raise SystemExit(_report(str(error))) from error
    except OSError as error:  # of a file that is read before there is a run
        message = explain_refusal(error)
        if message is None:
            raise
        raise SystemExit(_report(message)) from error
    except KeyboardInterrupt as error:
        raise SystemExit(INTERRUPTED) from error
    except SystemExit as error:
        raise SystemExit(_status(error)) from error


def script() -> None:
    """Run the command of this process; what the installed program calls."""
    main()


@contextmanager
def environment_restored() -> Iterator[None]:
    """Take back Python's path, variables and Ctrl-C's handler, so that one process can run many commands."""
    before, path = dict(os.environ), list(sys.path)
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        sys.path[:] = path
        if signal.getsignal(signal.SIGINT) is not handler and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _report(message: str) -> int:
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", os.environ.get("SLURM_PROCID", "0")))
    where = "" if rank == "0" or not rank.isdigit() else f" on rank {rank}"
    print(f"error{where}: {message}", file=sys.stderr)
    return USER_ERROR


def _status(exit_: SystemExit) -> int | str | None:
    """Return the exit status; Lightning ends both kinds of interruption with a status that hides them."""
    if type(exit_).__name__ == "SIGTERMException":
        return TERMINATED
    return INTERRUPTED if isinstance(exit_.__context__, KeyboardInterrupt) else exit_.code


if __name__ == "__main__":
    main()
