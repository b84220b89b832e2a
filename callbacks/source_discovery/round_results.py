"""What the protocols of source discovery share: rows for every round that outlive a resume."""

from abc import ABC, abstractmethod
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from callbacks.results.presentation import Presentation
from callbacks.results.result import Result, write_results
from callbacks.source_discovery.round_outcome import RoundOutcome


class RoundResults(Callback, ABC):
    """Base of the protocols that measure the rounds of source discovery.

    After every round its rows go to the loggers as ``<protocol>/<metric>/<method>``, without the words "round <n>" of
    the method; to results/<protocol>.csv in the run folder, and to ``results``. Those of the last round that name it
    stand there once more with "last" in place of "round <n>", so that they can be found whatever the number of rounds.
    The rows are part of the checkpoint. Every rank computes the same; the first one writes.
    """

    protocol: str
    presentation: Presentation

    def __init__(self) -> None:
        self.results: list[Result] = []
        self._rounds: dict[int, list[Result]] = {}

    @abstractmethod
    def rows(self, trainer: Trainer, pl_module: LightningModule, round: RoundOutcome) -> list[Result]:
        """Return the rows of a round; of one that is measured again and again, the method starts with ``of_round``."""

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, round: RoundOutcome) -> None:
        """Measure a round; called by the module on every rank.

        Args:
            trainer: of the run.
            pl_module: that calls.
            round: that has ended. Rows of a round of this number or a later one, from before a resume, go.
        """
        rows = self.rows(trainer, pl_module, round)
        self._rounds = {n: old for n, old in self._rounds.items() if n < round.number}
        if not rows:
            return
        self._rounds[round.number] = rows
        self._gather()
        prefix = of_round(round.number)
        figures = {
            "/".join(filter(None, [self.protocol, row.metric, row.method.removeprefix(prefix).strip()])): row.value
            for row in rows
        }
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)
        if trainer.is_global_zero:
            write_results(self.results, Path(trainer.default_root_dir) / "results" / f"{self.protocol}.csv")

    def _gather(self) -> None:
        self.results = [row for number in sorted(self._rounds) for row in self._rounds[number]]
        final = max(self._rounds, default=0)
        for row in self._rounds.get(final, []):
            if row.method.startswith(of_round(final)):
                self.results.append(replace(row, method=f"last{row.method.removeprefix(of_round(final))}"))

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"rounds": {number: [asdict(row) for row in rows] for number, rows in self._rounds.items()}}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rounds = {int(n): [Result(**row) for row in rows] for n, rows in state_dict["rounds"].items()}
        self._gather()


def of_round(number: int) -> str:
    """Return how the methods of a round's rows begin."""
    return f"round {number}"
