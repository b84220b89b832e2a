"""``python -m lightning_modules.gan_discovery.ood``: out-of-distribution detection on stored features (Table 4.12)."""

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from lightning_modules.gan_discovery.detectors import fit_detectors
from lightning_modules.gan_discovery.wta import WTAHash
from metrics.out_of_distribution import Separation, separation
from networks.out_of_distribution_scores import energy, max_softmax, nearest_neighbours
from visionscapes.errors import UserError, tell
from visionscapes.files import atomic_write

DESCRIPTION = """\
Tell samples of the training distribution from others by features of any network, and print how well it goes, in per
cent, as Table 4.12 does. The files are what numpy.savez writes:

  features  (N, d)  of the layer before the classifier; needed
  labels    (N,)    integers; needed with --train, one detector is fitted to each class
  logits    (N, C)  of the classifier: with them in --inside and in all of --outside, max softmax and energy too
  odin      (N,)    scores of ODIN, higher inside (networks/out_of_distribution_scores.py computes them): likewise"""
COLUMNS = ("FPR at 95% TPR", "detection error", "AUROC", "AUPR in", "AUPR out")


@dataclass(frozen=True)
class Options:
    """Settings of the scores.

    Attributes:
        hashes: of the winner-take-all hash.
        percentile: of the distances inside a class, the threshold of its detector.
        neighbours: k of the k-NN.
        temperature: of the energy.
        seed: of the hash.
    """

    hashes: int = 2048
    percentile: float = 0.9
    neighbours: int = 50
    temperature: float = 1.0
    seed: int = 0


DEFAULTS = Options()
Samples = dict[str, np.ndarray]


def read_samples(path: Path, needed: Sequence[str] = ("features",)) -> Samples:
    """Return the arrays of a file.

    Args:
        path: of an npz file.
        needed: arrays without which it is of no use.

    Raises:
        UserError: no such file, no arrays, one is missing, or they do not go together.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; write one with numpy.savez, see --help")
    try:
        with np.load(path, allow_pickle=False) as file:
            samples = {key: file[key] for key in ("features", "logits", "labels", "odin") if key in file.files}
    except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise UserError(
            f"{path} cannot be read as an npz file of arrays ({error}); write it with numpy.savez"
        ) from error
    for key in needed:
        if key not in samples:
            raise UserError(f"{path} has no array {key!r}, which is needed here; see --help")
    count = len(samples["features"]) if samples["features"].ndim else 0
    for key, array in samples.items():
        dimensions = 2 if key in ("features", "logits") else 1
        if array.ndim != dimensions or len(array) != count or not count:
            raise UserError(
                f"{key!r} in {path} has the shape {array.shape}; it has to have {dimensions} dimension"
                f"{'s' * (dimensions > 1)} and as many rows as 'features', at least one"
            )
        if key == "labels" and not np.issubdtype(array.dtype, np.integer):
            raise UserError(f"'labels' in {path} are {array.dtype}; they have to be integers, one for each class")
        if key != "labels" and (not np.issubdtype(array.dtype, np.number) or not np.isfinite(array).all()):
            raise UserError(f"{key!r} in {path} holds what is no finite number; leave such samples out")
    return {key: array if key == "labels" else array.astype(np.float32) for key, array in samples.items()}


def scores_of(train: Samples, groups: Sequence[Samples], options: Options = DEFAULTS) -> dict[str, list[np.ndarray]]:
    """Return the scores of every group by method, higher the more a sample looks like the training samples.

    The score of WTA is max_j (t_j - d_j), by how much the detector that accepts it most easily accepts a sample; the
    thesis does not say which scalar it takes. A threshold on it is a shift of all thresholds t_j alike.

    Args:
        train: with "features" and "labels".
        groups: with "features" of as many dimensions.
        options: of the scores.

    Returns:
        (N,) for each group. Methods that need what not every group has are left out.
    """
    wta = WTAHash.fit(train["features"], options.hashes, seed=options.seed)
    classes = np.unique(train["labels"]).tolist()
    codes = wta(train["features"])
    detectors = fit_detectors(codes, train["labels"], classes, options.percentile, window=wta.window, seed=options.seed)
    found = {
        "WTA": [(detectors.thresholds - detectors.distances(wta(group["features"]))).max(1) for group in groups],
        "k-NN": [_nearest(group["features"], train["features"], options.neighbours) for group in groups],
    }
    if all("logits" in group for group in groups):
        logits = [torch.from_numpy(group["logits"]) for group in groups]
        found["max softmax"] = [max_softmax(each).numpy() for each in logits]
        found["energy"] = [energy(each, options.temperature).numpy() for each in logits]
    if all("odin" in group for group in groups):
        found["ODIN"] = [group["odin"] for group in groups]
    return found


def _nearest(features: np.ndarray, reference: np.ndarray, neighbours: int) -> np.ndarray:
    return nearest_neighbours(torch.from_numpy(features), torch.from_numpy(reference), neighbours).numpy()


def compare(
    train: Samples, inside: Samples, outside: dict[str, Samples], options: Options = DEFAULTS
) -> list[tuple[str, str, Separation]]:
    """Return name of the samples outside, method and figures of every row of the table; see ``scores_of``."""
    found = scores_of(train, [inside, *outside.values()], options)
    return [
        (name, method, separation(scores[0], scores[place]))
        for place, name in enumerate(outside, 1)
        for method, scores in found.items()
    ]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        "python -m lightning_modules.gan_discovery.ood",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--train", type=Path, required=True, metavar="TRAIN.npz", help="what the network was trained on"
    )
    parser.add_argument("--inside", type=Path, required=True, metavar="IN.npz", help="other samples of that kind")
    parser.add_argument(
        "--outside",
        required=True,
        nargs="+",
        metavar="NAME=OUT.npz",
        help="samples of another kind, one table part each",
    )
    parser.add_argument("--output", type=Path, metavar="TABLE.csv", help="write the table there too, as fractions")
    parser.add_argument("--hashes", type=int, default=DEFAULTS.hashes, help="of the WTA hash (default: %(default)s)")
    parser.add_argument(
        "--percentile", type=float, default=DEFAULTS.percentile, help="of WTA's thresholds (default: %(default)s)"
    )
    parser.add_argument("--neighbours", type=int, default=DEFAULTS.neighbours, help="of k-NN (default: %(default)s)")
    parser.add_argument(
        "--temperature", type=float, default=DEFAULTS.temperature, help="of the energy (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=DEFAULTS.seed, help="of the WTA hash (default: %(default)s)")
    return parser


def run(given: argparse.Namespace) -> list[tuple[str, str, Separation]]:
    """Return the rows that the command line asks for, after writing them where it says.

    Raises:
        UserError: files or settings that are wrong.
    """
    if given.hashes < 1 or given.neighbours < 1 or given.temperature <= 0 or not 0 < given.percentile < 1:
        raise UserError("--hashes, --neighbours and --temperature have to be positive, --percentile between 0 and 1")
    named = [each.partition("=") for each in given.outside]
    for name, _, file in named:
        if not name or not file:
            raise UserError(f"--outside {name}: write it as NAME=OUT.npz, such as lsun=lsun.npz")
    if len({name for name, _, _ in named}) < len(named):
        raise UserError("--outside has the same name twice: give every file a name of its own")
    train = read_samples(given.train, ("features", "labels"))
    inside, outside = read_samples(given.inside), {name: read_samples(Path(file)) for name, _, file in named}
    for path, samples in [(given.inside, inside), *((file, outside[name]) for name, _, file in named)]:
        if samples["features"].shape[1] != train["features"].shape[1]:
            raise UserError(
                f"'features' in {path} have {samples['features'].shape[1]} dimensions and those in {given.train} "
                f"{train['features'].shape[1]}: take both from the same layer of the same network"
            )
    options = Options(given.hashes, given.percentile, given.neighbours, temperature=given.temperature, seed=given.seed)
    rows = compare(train, inside, outside, options)
    if given.output is not None:
        write_table(rows, given.output)
    return rows


def write_table(rows: Sequence[tuple[str, str, Separation]], path: Path) -> None:
    """Write the table as CSV, figures in [0, 1].

    Raises:
        UserError: the file cannot be written.
    """
    try:
        with atomic_write(path, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["outside", "method", *COLUMNS])
            writer.writerows([name, method, *(f"{x:.6g}" for x in astuple(found))] for name, method, found in rows)
    except OSError as error:
        raise UserError(f"--output {path} cannot be written ({error.strerror}); choose another file") from error


def show(rows: Sequence[tuple[str, str, Separation]]) -> None:
    """Print the table in per cent."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("outside", "method"):
        table.add_column(column)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    before = None
    for name, method, found in rows:
        table.add_row("" if name == before else name, method, *(f"{100 * figure:.1f}" for figure in astuple(found)))
        before = name
    Console().print(table)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: of the command line; those of this process if None.

    Returns:
        The exit status: 0, 2 after an error that the user can mend.
    """
    given = parser().parse_args(words)
    try:
        show(run(given))
    except UserError as error:
        return tell(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
