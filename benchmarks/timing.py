"""Measuring two ways of doing the same work next to each other: time, peak memory, and on what."""

import multiprocessing
import os
import platform
import re
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from visionscapes.precision import processor_abilities


@dataclass(frozen=True)
class Case:
    """Two ways of doing the same work.

    Attributes:
        ours: takes the number of the round.
        plain: takes the number of the round, does the same.
        difference: how far the two results are apart, a number that should be (nearly) 0.
        reach: the ratio of times, ours / plain, that is aimed at.
    """

    ours: Callable[[int], Any]
    plain: Callable[[int], Any]
    difference: Callable[[], float]
    reach: float


@dataclass(frozen=True)
class Times:
    """Seconds of every round, by the clock and of all cores together."""

    wall: list[float]
    cpu: list[float]

    def add(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Add a round from two readings of both clocks."""
        self.wall.append(end[0] - start[0])
        self.cpu.append(end[1] - start[1])


def interleave(variants: Mapping[str, Callable[[int], Any]], rounds: int, device: str = "cpu") -> dict[str, Times]:
    """Time variants in turns, A B, B A, A B, ..., so that whatever else the machine does meets all of them alike.

    Args:
        variants: each takes the number of the round; called once more than ``rounds``, the first call is not counted.
        rounds: how many times each is timed.
        device: waited for on "cuda".
    """
    times = {name: Times([], []) for name in variants}
    for n in range(-1, rounds):
        for name in list(variants)[:: 1 if n % 2 else -1]:
            synchronise(device)
            start = time.perf_counter(), time.process_time()
            variants[name](max(n, 0))
            synchronise(device)
            if n >= 0:
                times[name].add(start, (time.perf_counter(), time.process_time()))
    return times


def synchronise(device: str) -> None:
    """Wait for everything queued on the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def compare(case: Case, rounds: int, device: str = "cpu") -> dict[str, Any]:
    """Return medians, their ratio and the difference between the results of a case, ready for JSON."""
    times = interleave({"ours": case.ours, "plain": case.plain}, rounds, device)
    return summary(times["ours"], times["plain"], case.reach, case.difference())


def breakdown_of(
    loops: Mapping[str, Any], steps: int, *, rounds: int, device: str = "cpu"
) -> dict[str, dict[str, float]]:
    """Return seconds of a step of every loop, and their ratios to those of the loop "plain", ready for JSON.

    Args:
        loops: by name, each of which has ``step()``.
        steps: that a round takes.
        rounds: how many times each is timed.
        device: waited for on "cuda".
    """
    times = interleave({name: steps_of(loop, steps) for name, loop in loops.items()}, rounds, device)
    plain = times["plain"].wall
    return {
        name: {
            "seconds": round(statistics.median(own.wall) / steps, 5),
            "ratio": round(statistics.median(a / b for a, b in zip(own.wall, plain, strict=True)), 4),
        }
        for name, own in times.items()
    }


def steps_of(loop: Any, count: int) -> Callable[[int], None]:
    """Return what takes so many steps of a loop that has ``step()``, whatever the number of the round."""

    def take(_: int) -> None:
        for _ in range(count):
            loop.step()

    return take


def summary(ours: Times, plain: Times, reach: float, difference: float) -> dict[str, Any]:
    """Return medians of alternating rounds and of their ratio, ready for JSON."""
    ratios = [a / b for a, b in zip(ours.wall, plain.wall, strict=True)]
    median = statistics.median
    return {
        "ours_s": round(median(ours.wall), 5),
        "plain_s": round(median(plain.wall), 5),
        "ratio": round(median(ratios), 4),
        "ratio_range": [round(min(ratios), 4), round(max(ratios), 4)],
        "cpu_ratio": round(median(ours.cpu) / max(median(plain.cpu), 1e-9), 4),
        "reach": reach,
        "reached": median(ratios) <= reach,
        "difference": difference,
        "rounds": len(ratios),
    }


def peak_memory(build: Callable[..., Case], arguments: Iterable[Any], device: str = "cpu") -> dict[str, float]:
    """Return the memory in MiB that each variant of a case needs on top of what it starts from.

    On the CPU: growth of the largest resident size in a fresh process per variant, so that neither finds memory that
    an earlier one has left behind. On CUDA: the allocator's own count.
    """
    peaks = {}
    for variant in ("ours", "plain"):
        if device == "cuda":
            run = getattr(build(*arguments), variant)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            run(0)
            peak = torch.cuda.max_memory_allocated() - before
        else:
            context = multiprocessing.get_context("forkserver")  # torch is imported once, its threads are not forked
            context.set_forkserver_preload(["__main__", build.__module__])
            with context.Pool(1) as pool:
                peak = pool.apply(_growth, (build, tuple(arguments), variant, torch.get_num_threads()))
        peaks[f"{variant}_mib"] = round(peak / 2**20, 1)
    return peaks


def _growth(build: Callable[..., Case], arguments: tuple[Any, ...], variant: str, threads: int) -> int:
    """Return by how many bytes the resident size grows while a variant runs; in a process of its own."""
    torch.set_num_threads(threads)
    run = getattr(build(*arguments), variant)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    run(0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def hardware(device: str) -> dict[str, Any]:
    """Return what the figures were measured on."""
    import timm

    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        cpu = found[1].strip() if found else cpu
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else cpu,
        "cpu_abilities": processor_abilities(),
        "cores": os.cpu_count(),
        "vectors": torch.backends.cpu.get_cpu_capability(),  # as ATEN_CPU_CAPABILITY may have limited them
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "python": platform.python_version(),
    }


def slug(text: str) -> str:
    """Return text as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
