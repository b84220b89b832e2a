"""Speed and memory of the stages between two trainings of GAN discovery, side by side with the official way.

    python benchmarks/gan_discovery.py [--quick] [--only distances thresholds refine curves] [--largest N] [--jobs N]

* distances: mean Hamming distances (Eq. 4.2) by one matrix product, against one-hot codes of each class and a product
  with each of its members.
* thresholds: of one class, counted block by block, against the matrix of all pairs and its largest entries.
* refine: capped negatives and several clusters at a time, against one SVM a cluster with all others, one by one. The
  difference is the share of images that one of them drops and the other keeps.
* curves: seconds of each stage by the number of images. Sizes above --largest are not run: their seconds are the power
  law through the two largest measured ones, and called extrapolated.

Ratios are ours / plain, medians over rounds that alternate between the two in one process. Memory is the peak of what
numpy allocates in one more run of each; libsvm's own, 200 MB for each cluster that is fitted at the time, is not in it.
"""

import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.plain_gan_discovery import (
    plain_distances,
    plain_pairs,
    plain_refine,
    plain_threshold,
)
from benchmarks.reports import finish, new_report, parser_of
from benchmarks.timing import Case, compare
from lightning_modules.gan_discovery.detectors import fit_detectors
from lightning_modules.gan_discovery.merging import merge
from lightning_modules.gan_discovery.overclustering import over_cluster
from lightning_modules.gan_discovery.refining import refine
from lightning_modules.gan_discovery.wta import WTAHash


@dataclass(frozen=True)
class Settings:
    """Sizes of the work; the defaults are those that the reached ratios are stated for."""

    samples: int = 20_000
    classes: int = 12
    members: int = 1_000  # of each class whose distance is taken
    pairs: int = 4_000  # members of the class that a threshold is for
    dim: int = 128
    hashes: int = 2048
    refined: int = 6_000
    clusters: int = 30
    negatives: int = 1_500
    k: int = 500
    curve: tuple[int, ...] = (5_000, 20_000, 80_000, 160_000)
    largest: int = 20_000
    jobs: int = 2
    threads: int = 2


QUICK = Settings(
    60,
    3,
    20,
    pairs=50,
    dim=16,
    hashes=64,
    refined=160,
    clusters=4,
    negatives=40,
    k=8,
    curve=(100, 200, 400),
    largest=200,
)


def sources(count: int, groups: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features (N, D) float32 like those after a ReLU, around one centre a group, and the groups (N,)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (groups, dim))
    found = rng.integers(0, groups, count)
    return np.maximum(centres[found] + rng.normal(0, 0.7, (count, dim)), 0).astype(np.float32), found


def one_hot(codes: np.ndarray) -> np.ndarray:
    """Return codes (N, H) as the official code keeps them, (N, 2 H) float32."""
    return np.eye(2, dtype=np.float32)[codes].reshape(len(codes), -1)


def distances(settings: Settings) -> Case:
    """Return the comparison of distances to all classes; the codes are there already, one-hot ones are made."""
    labelled, labels = sources(settings.classes * settings.members, settings.classes, settings.dim, seed=1)
    hashing = WTAHash(settings.dim, settings.hashes)
    codes = hashing(sources(settings.samples, settings.classes, settings.dim)[0])
    own = hashing(labelled)
    detectors = fit_detectors(own, labels, range(settings.classes), members=2)  # the thresholds are the other case
    found: dict[str, np.ndarray] = {}

    def ours(_: int) -> None:
        found["ours"] = detectors.distances(codes)

    def plain(_: int) -> None:
        columns = []
        for label in range(settings.classes):
            pair = one_hot(codes), one_hot(own[labels == label])
            columns.append(plain_distances(*pair, settings.hashes))
        found["plain"] = np.stack(columns, axis=1)

    return Case(ours, plain, lambda: float(np.abs(found["ours"] - found["plain"]).max()), reach=0.1)


def thresholds(settings: Settings) -> Case:
    """Return the comparison of one threshold from all pairs of a class."""
    codes = WTAHash(settings.dim, settings.hashes)(sources(settings.pairs, 1, settings.dim)[0])
    labels = np.zeros(len(codes), np.int64)
    found: dict[str, float] = {}

    def ours(_: int) -> None:
        found["ours"] = float(fit_detectors(codes, labels, [0], members=None).thresholds[0])

    def plain(_: int) -> None:
        found["plain"] = plain_threshold(plain_pairs(one_hot(codes), settings.hashes), 0.9)

    return Case(ours, plain, lambda: abs(found["ours"] - found["plain"]), reach=1.0)


def refinement(settings: Settings) -> Case:
    """Return the comparison of refinements of the same clusters, a tenth of whose members are not of them."""
    features, labels = sources(settings.refined, settings.clusters, settings.dim)
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(len(labels)) < 0.1, rng.integers(0, settings.clusters, len(labels)), labels)
    found: dict[str, np.ndarray] = {}

    def ours(_: int) -> None:
        found["ours"] = refine(features, labels, 2, tau=5, max_negatives=settings.negatives, jobs=settings.jobs).labels

    def plain(_: int) -> None:
        found["plain"] = plain_refine(features, labels, 2, 0.5, 5)

    return Case(ours, plain, lambda: float(((found["ours"] == -1) != (found["plain"] == -1)).mean()), reach=0.5)


CASES: dict[str, Callable[[Settings], Case]] = {
    "distances": distances,
    "thresholds": thresholds,
    "refine": refinement,
}


def numpy_peaks(case: Case) -> dict[str, float]:
    """Return the most MiB that numpy holds at a time for each variant of a case."""
    peaks = {}
    for name, run in (("ours", case.ours), ("plain", case.plain)):
        tracemalloc.start()
        run(0)
        peaks[f"{name}_mib"] = round(tracemalloc.get_traced_memory()[1] / 2**20, 3)
        tracemalloc.stop()
    return peaks


def stages(count: int, settings: Settings) -> dict[str, tuple[float, float]]:
    """Return seconds and MiB of each stage for ``count`` images of which most are clustered in k clusters."""
    features, _ = sources(count, 20, settings.dim)
    spent: dict[str, tuple[float, float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        tracemalloc.start()
        start = time.perf_counter()
        result = work()
        spent[name] = time.perf_counter() - start, tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        return result

    hashing = WTAHash(settings.dim, settings.hashes)
    codes = timed("hash", lambda: hashing(features))
    labels = timed("k_means", lambda: over_cluster(features, np.full(count, -1), settings.k, 0))
    detectors = timed("fit_detectors", lambda: fit_detectors(codes, labels, range(settings.k)))
    timed("distances", lambda: detectors.distances(codes))
    labels = timed("merge", lambda: merge(features, labels, 0, 0, hashing))
    timed("refine", lambda: refine(features, labels, 0, jobs=settings.jobs))
    return spent


def curves(settings: Settings) -> dict[str, Any]:
    """Return seconds and peak MiB of each stage by number of images: measured, and extrapolated."""
    measured = {count: stages(count, settings) for count in settings.curve if count <= settings.largest}
    report: dict[str, Any] = {}
    for name in next(iter(measured.values())):
        seconds = {count: spent[name][0] for count, spent in measured.items()}
        (small, first), (large, second) = list(seconds.items())[-2:]
        power = np.log(second / first) / np.log(large / small)
        report[name] = {
            "measured_s": {count: round(value, 4) for count, value in seconds.items()},
            "extrapolated_s": {
                count: round(float(second * (count / large) ** power), 2)
                for count in settings.curve
                if count > settings.largest
            },
            "power": round(float(power), 2),
            "measured_mib": {count: round(spent[name][1], 3) for count, spent in measured.items()},
        }
    return report


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    names = [*CASES, "curves"]
    parser = parser_of(__doc__, names, devices=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--largest", type=int, help="most images that the curves are measured with")
    parser.add_argument("--jobs", type=int, default=2, help="clusters that are refined at the same time")
    parser.add_argument("--threads", type=int, default=2, help="threads of a matrix product")
    options = parser.parse_args(arguments)
    settings = replace(QUICK if options.quick else Settings(), jobs=options.jobs, threads=options.threads)
    settings = replace(settings, largest=options.largest or settings.largest)
    if sum(count <= settings.largest for count in settings.curve) < 2:
        parser.error(f"--largest has to be at least {settings.curve[1]}: a power law needs two measured sizes")
    report = new_report(settings)
    with threadpool_limits(options.threads):
        for name in (name for name in names if name in options.only):
            if name == "curves":
                report[name] = curves(settings)
            else:
                case = CASES[name](settings)
                report[name] = compare(case, options.rounds) | numpy_peaks(case)
            print(f"{name}: {report[name]}", file=sys.stderr)
    report["largest_resident_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    finish(report, "gan-discovery", options)
    return report


if __name__ == "__main__":
    main()
