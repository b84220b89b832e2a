"""Runs that are interrupted at chosen moments and resumed, each session in a fork of this process.

A session counts its moments: every call of a hook, every optimiser step, every file that takes its place. At the moment
that is asked for the process sends itself a signal; SIGKILL ends it there and then, as a crash of the machine would.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.trainer import call

import cli
import command_line.lightning_cli  # noqa: F401  # once, not in every fork

HOOKS = ("_call_callback_hooks", "_call_lightning_module_hook", "_call_strategy_hook")


class Moments:
    """Counts moments, and sends this process a signal at one of them."""

    def __init__(self, signals: dict[int, int]):
        self.count, self.signals, self.began = 0, signals, False

    def tick(self) -> None:
        self.count += 1
        if self.count in self.signals:
            os.kill(os.getpid(), self.signals[self.count])

    def watch(self, owner: Any, name: str, begins: str = "") -> None:
        """Count the calls of a function, before and after each, from the first hook named ``begins`` on."""
        function = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.began |= not begins or begins in args
            if not self.began:
                return function(*args, **kwargs)
            self.tick()
            result = function(*args, **kwargs)
            self.tick()
            return result

        setattr(owner, name, counted)


def session(
    words: list[str], signals: dict[int, int] | None = None, prepare: Callable[[], Any] | None = None
) -> tuple[int, int]:
    """Run a command line in a fork of this process.

    Args:
        words: of the command line.
        signals: moment -> the signal that the process sends itself there.
        prepare: called in the fork before the command.

    Returns:
        Its exit status, -9 after SIGKILL, and the number of its moments if it ended well.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _run(words, signals or {}, prepare, writer)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code, int(told or 0)


def _run(words: list[str], signals: dict[int, int], prepare: Callable[[], Any] | None, writer: int) -> None:
    code = 1
    try:
        torch.set_num_threads(1)
        # A background process of a shell ignores SIGINT, and so do its children.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if prepare is not None:
            prepare()
        moments = Moments(signals)
        for hook in HOOKS:
            moments.watch(call, hook, begins="on_train_start")
        moments.watch(torch.optim.Adam, "step", begins="never")
        moments.watch(os, "replace", begins="never")
        cli.main(words)
        os.write(writer, str(moments.count).encode())
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def left_behind(folder: Path) -> dict[str, Any]:
    """Return what a run has left that an interruption must not change: its log, names of files, checkpoints."""
    checkpoints = {}
    for path in sorted(folder.glob("checkpoints/*.ckpt")):
        content = torch.load(path, weights_only=True)
        for name, value in _leaves(content):
            # The folder has another name.
            value = value.replace(str(folder), "") if isinstance(value, str) else value
            checkpoints[f"{path.name}{name.replace(str(folder), '')}"] = value
    names = sorted(str(path.relative_to(folder)) for path in folder.glob("**/*") if path.is_file())
    return {"names": names, "log": (folder / "metrics.csv").read_bytes(), **checkpoints}


def differing(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return the names of what differs, bit for bit, between what two runs have left behind."""
    return [
        name for name in ours.keys() | theirs.keys() if not _same(ours.get(name, _Absent), theirs.get(name, _Absent))
    ]


class _Absent:
    pass


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other


def _leaves(content: Any, place: str = "") -> list[tuple[str, Any]]:
    if isinstance(content, dict):
        return [leaf for key, value in content.items() for leaf in _leaves(value, f"{place}/{key}")]
    if isinstance(content, list | tuple):
        return [leaf for key, value in enumerate(content) for leaf in _leaves(value, f"{place}/{key}")]
    return [(place, content)]
