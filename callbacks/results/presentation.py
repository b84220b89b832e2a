"""How the figures of a protocol are shown: what each evaluation callback states beside its ``protocol``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LAYER = " layer"  # ends the name of the metric that says at which layer another one is best


@dataclass(frozen=True)
class MetricKind:
    """How the figures of a metric are read and written.

    Attributes:
        better: whether a higher or a lower figure is better; None if neither is.
        share: whether figures are shares of one, written in per cent with their standard errors. Others are written as
            they are.
        digits: format specification of a figure, such as ".1f" for one decimal place, ".4g" for four digits in all.
        errors: whether figures that are no shares are written with their standard errors too.
    """

    better: Literal["higher", "lower"] | None
    share: bool = False
    digits: str = ".4g"
    errors: bool = False

    def text(self, value: float, standard_error: float) -> str:
        """Return a figure as tables show it.

        Args:
            value: in the unit of the metric.
            standard_error: NaN if unknown.
        """
        unit = 100 if self.share else 1
        known = (self.share or self.errors) and standard_error == standard_error
        error = f" ± {unit * standard_error:{self.digits}}" if known else ""
        return f"{unit * value:{self.digits}}{error}"


SHARE = MetricKind("higher", share=True, digits=".1f")  # such as accuracies and IoU
COUNT = MetricKind(None, digits=".0f")
HIGHER, LOWER, NEUTRAL = MetricKind("higher"), MetricKind("lower"), MetricKind(None)


@dataclass(frozen=True)
class Presentation:
    """How the results of a protocol are shown.

    Attributes:
        title: of its tables.
        kind: of its metrics.
        kinds: of those of its metrics that are of another kind, by what their names begin with.
        ranked: whether its methods compete, so that tables mark the best figure; not where they are boxes and masks,
            parts, labels or rounds, of which none is better than another.
        columns: at most so many metrics stand in one table. Five fit into 80 characters beside the methods.
        joins: protocol whose tables show these results too; None for tables of its own.
    """

    title: str
    kind: MetricKind
    kinds: Mapping[str, MetricKind] = field(default_factory=dict)
    ranked: bool = True
    columns: int = 5
    joins: str | None = None

    def kind_of(self, metric: str) -> MetricKind:
        """Return the kind of a metric; the longest beginning of its name that is known decides."""
        if metric.endswith(LAYER):
            return COUNT
        known = [start for start in self.kinds if metric.startswith(start)]
        return self.kinds[max(known, key=len)] if known else self.kind
