"""What a user should know before a run: pictures and videos of which a good result cannot be expected."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.clips.heads.motion import RATE, HeadMotion
from networks.faces.landmarks import leaning_by, mouth_opening, turned_by
from visionscapes.media.containers import frames_missing

Float = NDArray[np.float32]
MOST_TURNED = 45.0  # degrees to a side
LYING = 60.0  # degrees by which a head is not upright any more
SMALLEST_FACE = 48.0  # pixels of a driver's face from forehead to chin, a quarter of what MediaPipe's mesh looks at
# Of the distance of the outer corners of the eyes, see `mouth_opening`: lips that are further apart are open. Shut
# mouths of MediaPipe's landmarks are below 0.05.
OPEN = 0.1
MOSTLY = 0.5  # of the frames
BEYOND = 0.1  # of a crop's side, by which it may reach beyond its picture without a word
CHOOSE = "--data.faces.choose=0, 1, ... takes another, from left to right"


def about_shots(landmarks: Float, sides: Float, size: int) -> list[str]:
    """Return what is to be said of the pictures of the source.

    Args:
        landmarks: (K, 68, 2) in pixels of the crops.
        sides: (K,) side of what each crop shows in pixels of its file.
        size: S of the crops.
    """
    count = len(landmarks)
    said = []
    small = sides < size
    if small.any():
        said.append(
            f"the head is small in {_some(int(small.sum()), count)}: {sides.min():.0f} pixels are enlarged to {size};"
            " larger photographs give finer results"
        )
    turned = int((turned_by(landmarks) > MOST_TURNED).sum())
    if turned:
        said.append(
            f"the head is turned by more than {MOST_TURNED:g} degrees in {_some(turned, count)}: add one that looks"
            " ahead"
        )
    lying = int((leaning_by(landmarks) > LYING).sum())
    if lying:
        said.append(f"the head lies on its side, or is upside down, in {_some(lying, count)}: turn it upright")
    return said


def about_motion(motion: HeadMotion) -> list[str]:
    """Return what is to be said of the driver."""
    said = []
    track = motion.track
    seen = track.seen if track.seen.any() else np.ones(len(track), bool)
    if seen.mean() < MOSTLY:
        said.append(
            f"the driver's face is seen in {seen.sum()} of {len(motion)} frames only: the result stands still, or moves"
            " on straight lines, in the others; cut the driver to where its face is seen"
        )
    longer = (track.boxes[seen, 2:] - track.boxes[seen, :2]).max(1)
    if np.median(longer) < SMALLEST_FACE:
        said.append(
            f"the driver's face is small, {np.median(longer):.0f} pixels high: its landmarks are coarse; a closer video"
            " moves better"
        )
    turned = int((turned_by(track.landmarks[seen]) > MOST_TURNED).sum())
    if turned:
        said.append(
            f"the driver's head is turned by more than {MOST_TURNED:g} degrees in {turned} of {len(motion)} frames:"
            " landmarks of the far side are guessed there"
        )
    lying = int((leaning_by(track.landmarks[seen]) > LYING).sum())
    if lying:
        said.append(
            f"the driver's head lies on its side, or is upside down, in {lying} of {len(motion)} frames: turn the"
            " video upright; in a file of landmarks y goes down"
        )
    cuts = motion.cuts
    if cuts:
        said.append(
            f"the driver has {cuts} {'cut' if cuts == 1 else 'cuts'}: the result jumps there, and may follow somebody"
            " else from there on; cut the driver to one shot"
        )
    if motion.damaged:
        said.append(frames_missing(motion.damaged, "the driver"))
    if track.most_faces > 1:
        said.append(f"the driver shows up to {track.most_faces} faces at once: one is followed; {CHOOSE}")
    if motion.guessed_rate:
        said.append(f"the landmarks do not say when they are shown: {RATE:g} frames a second are taken")
    elif motion.steady is None:
        said.append("the driver's frames are shown for different times (variable frame rate): the result keeps them")
    return said


def about_mouths(driver: Float, reference: int, source: Float) -> list[str]:
    """Return what is to be said of open mouths where the driver's movement is carried over from a frame of reference.

    Args:
        driver: (T, 68, 2) of the driver.
        reference: number of the frame of reference.
        source: (68, 2) of the source that it is carried over to.
    """
    apart, own = mouth_opening(driver), float(mouth_opening(source))
    if apart[reference] > own + OPEN:
        return [
            f"the driver's mouth is open in the frame of reference, number {reference}, and the source's is not: the"
            " result presses its lips together; cut the driver so that it looks ahead with a shut mouth somewhere"
        ]
    if own > apart[reference] + OPEN:
        return [
            f"the source's mouth is open, and the driver's is not in its frame of reference, number {reference}: the"
            " result does not shut its mouth; name a picture with a shut mouth as the source"
        ]
    if apart[0] > apart[reference] + OPEN:
        return [f"the driver's mouth is open in the first frame: frame {reference} is the reference in its place"]
    return []


def about_crops(windows: Float, sizes: Sequence[tuple[int, int]]) -> list[str]:
    """Return what is to be said of heads that are cut off.

    Args:
        windows: (K, 4) xyxy, what is shown of each picture.
        sizes: width and height of each picture.
    """
    low, high = windows[:, :2], windows[:, 2:]
    beyond = np.maximum(-low, high - np.array(sizes)).max(1) / (high - low)[:, 0]
    count = int((beyond > BEYOND).sum())
    if not count:
        return []
    return [
        f"the border is close to the head in {_some(count, len(windows))}, and is repeated: pictures with some room"
        " around head and shoulders give better results"
    ]


def _some(count: int, of: int) -> str:
    return "the picture of the source" if of == 1 else f"{count} of {of} pictures of the source"
