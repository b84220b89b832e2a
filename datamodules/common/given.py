"""What Python users give a trained module: pictures of any kind become the batches that ``predict`` makes of files."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from PIL import Image

from datamodules.common.evaluation import Stacked
from datamodules.common.given_pictures import as_image, listed
from visionscapes.errors import UserError
from visionscapes.options import plain

Batch = dict[str, Any]
NAMES = "named"  # the key of a batch with what errors call its inputs


@dataclass(frozen=True)
class Asked:
    """What a user asks about.

    Attributes:
        batches: yields batches of at most so many inputs.
        many: whether a list was given, and so a list is wanted.
        joined: makes results, one for each input, of the answers to all batches in their order.
    """

    batches: Callable[[int], Iterator[Batch]]
    many: bool
    joined: Callable[[list[Any]], list[Any]] = list

    def result(self, answers: list[Any]) -> Any:
        """Return the results of a list, or the one result."""
        results = self.joined(answers)
        return results if self.many else results[0]


class Given(ABC):
    """What a user gives one method; a frozen dataclass of plain options, which checkpoints keep."""

    def options(self) -> dict[str, Any]:
        """Return plain values with which another one like this can be made."""
        return plain({each.name: getattr(self, each.name) for each in fields(self)})  # type: ignore[arg-type]

    @abstractmethod
    def ask(self, *given: Any, **options: Any) -> Asked:
        """Return what is asked about by what a user gives.

        Raises:
            UserError: it cannot be used; says which of it and what to do.
        """


class GivenPictures(Given):
    """Pictures that are looked at one by one, see ``datamodules.common.given_pictures``.

    Attributes:
        upright: whether pictures are turned as their EXIF data say.
    """

    upright: bool

    @abstractmethod
    def sample(self, image: Image.Image) -> dict[str, Any]:
        """Return an RGB picture as a sample, with "image" (3, H, W), as ``predict`` makes it of the same file."""

    def batch(self, samples: list[dict[str, Any]]) -> Batch:
        """Return samples whose images have one size as a batch, of the task "predict" unless a method has its own."""
        return Stacked("predict")(samples)

    def ask(self, pictures: Any) -> Asked:
        """Return what is asked about by a picture or by a list of them.

        Raises:
            UserError: the list is empty; later, a picture cannot be used.
        """
        things, many = listed(pictures)
        samples = ({**self.sample(as_image(thing, name, upright=self.upright)), NAMES: name} for thing, name in things)
        return Asked(lambda most: grouped(samples, most, self.batch), many)


def grouped(
    samples: Iterable[dict[str, Any]], most: int, batch: Callable[[list[dict[str, Any]]], Batch]
) -> Iterator[Batch]:
    """Yield samples in batches of at most ``most`` that follow each other and have images of one size.

    Padded to a common size, an image's result would depend on its neighbours.

    Raises:
        UserError: a batch is to hold less than one.
    """
    if most < 1:
        raise UserError(f"batch_size is {most}; it has to be at least 1")
    waiting: list[dict[str, Any]] = []
    for sample in samples:
        if waiting and (len(waiting) == most or sample["image"].shape != waiting[0]["image"].shape):
            yield _named(batch, waiting)
            waiting = []
        waiting.append(sample)
    if waiting:
        yield _named(batch, waiting)


def _named(batch: Callable[[list[dict[str, Any]]], Batch], samples: list[dict[str, Any]]) -> Batch:
    """Return samples as a batch that keeps what errors call them."""
    names = [sample.pop(NAMES) for sample in samples if NAMES in sample]
    return batch(samples) | {NAMES: names}
