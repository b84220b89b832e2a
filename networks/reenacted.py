"""What a reenacting network hands to those that evaluate it or write videos, and how its results are named."""

import re
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


class Reenacted(NamedTuple):
    """One person, known from K photographs, in the poses and expressions of T drawings of landmarks.

    Attributes:
        images: (T, 3, S, S) float32 RGB in [0, 1].
        layout: (T, C, S, S) float32, the layout that the images were made of, probabilities over its C channels (the
            predicted y of thesis Eq. 6.1); None of a network that has none.
        shots: K, how many photographs it was given.
        fine_tuned: whether it was trained on these photographs (thesis 6.1.1.5).
    """

    images: Tensor
    layout: Tensor | None
    shots: int
    fine_tuned: bool


@runtime_checkable
class Reenacts(Protocol):
    """A module that reenacts a person whenever it is asked to, without fine-tuning."""

    def reenact(
        self, shots: Tensor, drawings_of_shots: Tensor, drawing: Tensor, *, labels: Tensor | None = None
    ) -> Reenacted:
        """Return one person in other poses.

        Args:
            shots: (K, 3, S, S) float32 RGB in [0, 1], photographs of the person.
            drawings_of_shots: (K, 3, S, S) float32 in [0, 1], their landmarks, drawn.
            drawing: (T, 3, S, S) float32 in [0, 1], the landmarks of the poses, drawn.
            labels: (T, S, S) uint8, maps of a face parser, for a network that is given them (the upper bound of thesis
                table 6.2); others do not look at them.
        """
        ...


def method_name(shots: int, fine_tuned: bool = False) -> str:
    """Return how results of K shots are called in tables: "K = 4" or "K = 4, fine-tuned"."""
    return f"K = {shots}, fine-tuned" if fine_tuned else f"K = {shots}"


def parsed_method(name: str) -> tuple[int, bool] | None:
    """Return K and whether it was fine-tuned of a name that `method_name` has made, None for other names."""
    found = re.fullmatch(r"K = (\d+)(, fine-tuned)?", name)
    return None if found is None else (int(found[1]), found[2] is not None)


def shot_numbers(count: int, shots: int) -> list[int]:
    """Return which of a subject's source frames are its K shots, spread as in the official code's evaluation.

    Args:
        count: N, of the source frames, in their order.
        shots: K.

    Returns:
        floor(N k / K) for k = 0, ..., K - 1, all of them different.

    Raises:
        ValueError: there are fewer than K source frames, or K is below 1.
    """
    if not 1 <= shots <= count:
        raise ValueError(f"{shots} shots out of {count} source frames")
    return [place * count // shots for place in range(shots)]
