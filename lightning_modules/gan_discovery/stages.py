"""How the stages of a round work: every value that ``GANDiscovery`` hands on to them."""

from dataclasses import asdict, dataclass
from typing import Literal

from lightning_modules.gan_discovery.detectors import Distance
from lightning_modules.gan_discovery.merging import Components
from visionscapes.errors import UserError


@dataclass(frozen=True)
class Stages:
    """How the stages of a round work; see ``GANDiscovery`` for every value, of which ``k`` has one a round."""

    method: Literal["discovery", "reclustering"]
    k: tuple[int, ...]
    hashes: int
    window: int
    percentile: float
    inside: Distance
    members: int | None
    rule: Literal["thesis", "official"]
    scale: Literal["none", "standard"]
    merge_distance: Literal["wta", "cosine", "euclidean"]
    components: Components
    merging: bool
    repeats: int
    epsilon: float
    tau: int
    max_negatives: int | None
    jobs: int

    def check(self, rounds: int) -> None:
        """Refuse values that make no sense.

        Raises:
            UserError: says which.
        """
        least = {"hashes": 1, "window": 2, "repeats": 0, "tau": 1, **{f"k[{n}]": 2 for n in range(len(self.k))}}
        values = asdict(self) | {f"k[{n}]": value for n, value in enumerate(self.k)}
        for name, smallest in least.items():
            if values[name] < smallest:
                raise UserError(f"{name} is {values[name]}; it has to be at least {smallest}")
        if len(self.k) != rounds:
            raise UserError(f"k has {len(self.k)} values for {rounds} rounds: give one number, or one a round")
        if not 0 < self.percentile < 1:
            raise UserError(f"percentile is {self.percentile}; it has to be between 0 and 1, such as 0.9")
        if not 0 <= self.epsilon < 1:
            raise UserError(f"epsilon is {self.epsilon}; it has to be in [0, 1)")
