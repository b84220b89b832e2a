import csv
from types import SimpleNamespace

import pytest

from callbacks.results.result import Result
from callbacks.source_discovery.round_results import RoundResults, of_round
from tests.callbacks.source_discovery.cases import trainer_of


class Scores(RoundResults):
    """Gives the score of a round, and one figure of the images that does not name the round."""

    protocol = "scores"

    def rows(self, trainer, pl_module, round):
        if round.number == 9:
            return []
        named = Result("scores", "purity", f"{of_round(round.number)} merge", 24, 0.1 * round.number, 0.0, 5)
        return [named, Result("scores", "images", "all", 24, 40.0, 0.0, 5)]


def after(callback, *numbers, trainer):
    for number in numbers:
        callback.on_round_end(trainer, None, SimpleNamespace(number=number))
    return [(row.metric, row.method, row.value) for row in callback.results]


def test_rows_of_every_round_and_those_of_the_last_once_more(tmp_path):
    callback, trainer = Scores(), trainer_of(tmp_path)
    found = after(callback, 1, 2, trainer=trainer)
    assert found == [
        ("purity", "round 1 merge", 0.1),
        ("images", "all", 40.0),
        ("purity", "round 2 merge", 0.2),
        ("images", "all", 40.0),
        ("purity", "last merge", 0.2),
    ]
    with (tmp_path / "results" / "scores.csv").open() as file:
        assert [row["method"] for row in csv.DictReader(file)] == [method for _, method, _ in found]
    figures = {"scores/purity/merge": 0.2, "scores/images/all": 40.0}
    assert trainer.loggers[0].rows == [(7, {**figures, "scores/purity/merge": 0.1}), (7, figures)]


def test_a_resumed_run_forgets_the_rounds_that_come_again(tmp_path):
    first = Scores()
    after(first, 1, 2, 3, trainer=trainer_of(tmp_path))
    resumed = Scores()
    resumed.load_state_dict(first.state_dict())
    assert resumed.results == first.results
    found = after(resumed, 2, trainer=trainer_of(tmp_path))
    assert [method for metric, method, _ in found if metric == "purity"] == [
        "round 1 merge",
        "round 2 merge",
        "last merge",
    ]


def test_a_round_without_rows_writes_nothing(tmp_path):
    trainer = trainer_of(tmp_path)
    assert after(Scores(), 9, trainer=trainer) == []
    assert trainer.loggers[0].rows == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rank", [0, 1])
def test_one_process_writes(tmp_path, rank):
    assert len(after(Scores(), 1, trainer=trainer_of(tmp_path, rank=rank))) == 3
    assert (tmp_path / "results" / "scores.csv").exists() == (rank == 0)
