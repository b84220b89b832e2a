"""Real or generated: what a detector says of single images, and what clusters make of it (thesis 4.3.5)."""

import csv
import math
from pathlib import Path

import numpy as np
from pytorch_lightning import LightningModule, Trainer

from callbacks.dense_evaluation import Result
from callbacks.gan_discovery.observed import Round, images_of, number, truth_of, write_csv
from callbacks.gan_discovery.round_results import RoundResults, of_round
from errors import UserError
from metrics.source_discovery import UNCLUSTERED

COLUMNS = ("image", "fake_probability")


class RealFakeVote(RoundResults):
    """Lets the images of a cluster vote whether they are real or generated (thesis 4.3.5, Table 4.8).

    After every round votes.csv in the run folder has for every image the verdict of the detector ("fake") and that of
    its cluster ("voted"), 1 for generated. Where the true sources are known and the datamodule says which of them are
    real, the accuracies are rows of protocol "real_fake", metric "accuracy", methods "round <n> per image" and
    "round <n> voted", the last round once more as "last per image" and "last voted", and are printed.

    Args:
        scores: CSV file with the columns image, named as the discovery images are, and fake_probability, from a
            detector of generated images such as one trained on the labelled images; other columns and images are
            passed over. None to leave the vote out.
        threshold: probability above which an image counts as generated.

    Raises:
        UserError: when training starts: no such file, no such columns, no number, or images without a score.
    """

    protocol = "real_fake"

    def __init__(self, scores: str | None = None, threshold: float = 0.5):
        super().__init__()
        self.scores, self.threshold = scores, threshold
        self._probabilities = np.zeros(0)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        if self.scores is not None:
            names = images_of(trainer, self).discovery_names
            self._probabilities = probabilities_of(names, read_scores(Path(self.scores)), self.scores)

    def rows(self, trainer: Trainer, pl_module: LightningModule, round: Round) -> list[Result]:  # noqa: D102
        if self.scores is None:
            return []
        images, count = images_of(trainer, self), len(round.labels)
        probabilities = self._probabilities[:count]
        fake = probabilities > self.threshold
        voted = vote(fake, round.labels)
        if trainer.is_global_zero:
            table = zip(images.discovery_names[:count], map(number, probabilities), fake, voted, strict=True)
            lines = sorted((name, probability, int(one), int(all_)) for name, probability, one, all_ in table)
            write_csv(Path(trainer.default_root_dir) / "votes.csv", [*COLUMNS, "fake", "voted"], lines)
        truth = truth_of(images, count)
        if truth is None or not images.real:
            return []
        generated = np.array([name not in images.real for name in images.sources])[truth]
        accuracies = {"per image": fake == generated, "voted": voted == generated}
        shown = ", ".join(f"{100 * right.mean():.2f} % {name}" for name, right in accuracies.items())
        pl_module.print(f"round {round.number}, real or generated: {shown}")  # beside the progress bar, on one rank
        return [
            Result(
                self.protocol,
                "accuracy",
                f"{of_round(round.number)} {name}",
                images.image_size,
                float(right.mean()),
                math.nan,
                count,
            )
            for name, right in accuracies.items()
        ]


def vote(fake: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the verdict of the majority of its cluster for every image.

    Args:
        fake: (N,) bool, the verdict for every image.
        labels: (N,) integers, -1 for images that are not clustered, which keep their own verdict; so do those of a
            cluster that is divided evenly.

    Returns:
        (N,) bool.
    """
    voted, clustered = fake.copy(), labels != UNCLUSTERED
    names, cluster = np.unique(labels[clustered], return_inverse=True)
    balance = np.bincount(cluster, np.where(fake[clustered], 1, -1), len(names))[cluster]
    voted[clustered] = np.where(balance == 0, fake[clustered], balance > 0)
    return voted


def read_scores(path: Path) -> dict[str, float]:
    """Return the probability that an image is generated, by its name.

    Raises:
        UserError: no such file, a column is missing, or a probability is no number in [0, 1].
    """
    if not path.is_file():
        raise UserError(
            f"scores={path} of RealFakeVote: there is no such file; give a CSV with {' and '.join(COLUMNS)}"
        )
    scores = {}
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
            raise UserError(
                f"{path} has no column {' and no column '.join(missing)}, only {', '.join(reader.fieldnames or ())}; "
                "RealFakeVote reads both by these names"
            )
        for row in reader:
            try:
                scores[row["image"]] = float(row["fake_probability"])
                valid = 0 <= scores[row["image"]] <= 1
            except (TypeError, ValueError):
                valid = False
            if not valid:
                raise UserError(
                    f"{path}, line {reader.line_num}: fake_probability is {row['fake_probability']!r}; it has to be a "
                    "number from 0 to 1"
                )
    return scores


def probabilities_of(names: list[str], scores: dict[str, float], file: str) -> np.ndarray:
    """Return the probabilities (N,) of the discovery images.

    Raises:
        UserError: images are missing.
    """
    missing = [name for name in names if name not in scores]
    if missing:
        raise UserError(
            f"{file} has no score for {len(missing)} of {len(names)} discovery images, such as {missing[0]}; score "
            "every image, and name it by its path below the discovery folder"
        )
    return np.array([scores[name] for name in names])
