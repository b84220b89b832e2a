"""Faces of a video in a file, ours or of another detector: `.safetensors` or `.npz`, never pickled."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from datamodules.clips.faces.cuts import shots_of_face
from datamodules.clips.faces.tracks import FaceTrack
from networks.faces.landmarks import face_box, ibug_landmarks
from visionscapes.errors import in_words
from visionscapes.files import write_bytes
from visionscapes.media.errors import ClipError

SAFETENSORS, NPZ = ".safetensors", ".npz"
LANDMARKS = "landmarks"
POINTS, MESHES = 68, (468, 478)  # iBUG 300-W, and MediaPipe without and with irises
ASKED = '"landmarks" (T, 68, 2), xy in pixels of the frames in the order of iBUG 300-W'
FAR = 4  # frames: neither is a face so large, nor its middle so far from that of the frame
SHARES = 2.0  # landmarks that are nowhere larger are no pixels

Arrays = dict[str, NDArray[Any]]


def write_track(path: Path, track: FaceTrack, more: Mapping[str, NDArray[Any]] | None = None) -> None:
    """Write a face through a video as `.safetensors` or `.npz`, whole or not at all.

    Args:
        path: of the file; what it ends on is its format.
        track: the face.
        more: arrays that `read_track` does not look at, by name.

    Raises:
        ClipError: it ends on something else.
        OSError: no space or no permission.
    """
    arrays: Arrays = {name: getattr(track, name) for name in (LANDMARKS, "boxes", "found", "seen", "shots")}
    arrays |= more or {}
    if path.suffix == NPZ:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        write_bytes(path, buffer.getvalue())
    elif path.suffix == SAFETENSORS:
        write_bytes(path, save({name: np.ascontiguousarray(each) for name, each in arrays.items()}))
    else:
        raise ClipError(f"{path} has to end on {SAFETENSORS} or {NPZ}: name it so", "no landmarks")


def read_track(path: Path, frames: int | None = None) -> FaceTrack:
    """Read a face through a video, of this program or another.

    The file has "landmarks" (T, 68, 2) or (T, 68, 3), of which the third number of a point is left out, or MediaPipe's
    468 or 478 points; xy in pixels, (0, 0) is the upper left corner of the frame. It may have "boxes" (T, 4) xyxy,
    otherwise they are made of the landmarks, and "found" and "seen" (T,). Frames whose landmarks are not finite, or all
    0, have no face.

    Args:
        path: of the file.
        frames: T, how many frames the video has, if that is known.

    Raises:
        ClipError: there is no such file, it cannot be read, or holds something else; it says what and what to do.
    """
    arrays = arrays_of(path)
    landmarks, there = _landmarks(path, arrays)
    count = len(landmarks)
    if frames is not None and count != frames:
        raise wrong_track(
            path,
            f"has landmarks of {count} frames, and the video has {frames}",
            "run the detector on the same video at the same rate of frames",
        )
    found = there & _flags(path, arrays, "found", count)
    if not found.any():
        raise ClipError(f"{path} has no face in any of its {count} frames: leave the video out", "no face")
    landmarks[~found] = 0
    boxes = _boxes(path, arrays, landmarks, found)
    shots = _shots(path, arrays, count)
    if shots is None:
        shots = shots_of_face(landmarks, found, np.zeros(count, np.int64))
    seen = found & _flags(path, arrays, "seen", count)
    return FaceTrack(boxes=boxes, landmarks=landmarks, found=found, seen=seen, shots=shots)


def check_places(path: Path, track: FaceTrack, size: tuple[int, int]) -> None:
    """See that a face is where a video can show one, which it is not where it was found in another size of the video.

    Args:
        path: of the file that has the face, for the message.
        track: the face.
        size: width and height of the frames in pixels.

    Raises:
        ClipError: most of its boxes have their middle outside the frames, or one is far outside, or has no size.
    """
    frame = np.asarray(size, np.float64)
    boxes = track.boxes.astype(np.float64)
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    outside = track.found & ((middles < 0) | (middles > frame)).any(1)
    far = track.found & (np.abs(middles - frame / 2) > FAR * frame).any(1)
    odd = track.found & ((sides < 1) | (sides > FAR * frame.max())).any(1)
    wrong = far | odd if 2 * outside.sum() <= track.found.sum() else outside
    if wrong.any():
        index = int(wrong.argmax())
        x0, y0, x1, y1 = boxes[index]
        raise wrong_track(
            path,
            f"has a face from ({x0:.0f}, {y0:.0f}) to ({x1:.0f}, {y1:.0f}) in frame {index} of a video of {size[0]} x"
            f" {size[1]} pixels",
            "write it in pixels of these frames",
        )


def arrays_of(path: Path) -> Arrays:
    """Return the arrays that a file holds, by name.

    Raises:
        ClipError: there is no such file, it cannot be read, or holds pickled objects.
    """
    if path.suffix not in (SAFETENSORS, NPZ):
        raise wrong_track(path, "is no file of landmarks", f"name one that ends on {SAFETENSORS} or {NPZ}")
    if not path.is_file():
        raise wrong_track(path, "is not there", "name a file with " + ASKED)
    try:
        if path.suffix == SAFETENSORS:
            return load(path.read_bytes())
        file = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise wrong_track(path, "is a single array", f"write it with numpy.savez as {ASKED}")
        return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, SafetensorError, zipfile.BadZipFile, NotImplementedError) as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise wrong_track(path, "holds pickled objects", "write plain arrays of numbers: " + ASKED) from error
        raise ClipError(f"{path} cannot be read: {in_words(error)}. Write it again", "unreadable") from error


def _landmarks(path: Path, arrays: Arrays) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return landmarks (T, 68, 2) and where they are (T,)."""
    if LANDMARKS not in arrays:
        names = ", ".join(sorted(arrays)[:8]) or "nothing"
        raise wrong_track(path, f'has no "{LANDMARKS}" but {names}', f"rename the array with {ASKED}")
    points = arrays[LANDMARKS]
    fits = points.ndim == 3 and points.shape[1] in (POINTS, *MESHES) and points.shape[2] in (2, 3)
    if not fits or points.dtype.kind not in "fiu":
        raise wrong_track(path, f"has landmarks of shape {points.shape} and type {points.dtype}", f"write {ASKED}")
    if not len(points):
        raise wrong_track(path, "has landmarks of no frame", "run the detector again")
    points = points.astype(np.float32)
    there = np.isfinite(points[..., :2]).all((1, 2)) & (points != 0).any((1, 2))
    points = points[..., :2]
    points = ibug_landmarks(points) if points.shape[1] in MESHES else points.copy()
    if there.any() and np.abs(points[there]).max() <= SHARES:
        raise wrong_track(
            path, "has landmarks below 2, which are shares of the frame", "multiply x by its width and y by its height"
        )
    return points, there


def _boxes(path: Path, arrays: Arrays, landmarks: NDArray[np.float32], found: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return boxes (T, 4), those of the landmarks where the file has none."""
    made = np.where(found[:, None], face_box(landmarks), 0).astype(np.float32)
    if "boxes" not in arrays:
        return made
    boxes = arrays["boxes"]
    if boxes.shape != (len(found), 4) or boxes.dtype.kind not in "fiu":
        raise wrong_track(
            path,
            f"has boxes of shape {boxes.shape} and type {boxes.dtype} beside landmarks of {len(found)} frames",
            'write "boxes" (T, 4) xyxy in pixels, or leave them out',
        )
    boxes = boxes.astype(np.float32)
    given = found & np.isfinite(boxes).all(1)
    if not (boxes[given, 2:] > boxes[given, :2]).all():
        raise wrong_track(
            path, "has boxes that end before they begin", "write them as x0, y0, x1, y1, or leave them out"
        )
    return np.where(given[:, None], boxes, made)


def _flags(path: Path, arrays: Arrays, name: str, count: int) -> NDArray[np.bool_]:
    """Return for each frame whether it is "found" or "seen"; all are if the file does not say."""
    if name not in arrays:
        return np.ones(count, bool)
    flags = arrays[name]
    if flags.shape != (count,) or flags.dtype.kind not in "biu":
        raise wrong_track(
            path,
            f'has "{name}" of shape {flags.shape} and type {flags.dtype}',
            f"write one true or false for each of the {count} frames, or leave it out",
        )
    return flags.astype(bool)


def _shots(path: Path, arrays: Arrays, count: int) -> NDArray[np.int64] | None:
    """Return the number of the shot of each frame, if the file says."""
    if "shots" not in arrays:
        return None
    shots = arrays["shots"]
    if shots.shape != (count,) or shots.dtype.kind not in "iu":
        raise wrong_track(
            path,
            f'has "shots" of shape {shots.shape} and type {shots.dtype}',
            f"write one whole number for each of the {count} frames, or leave it out",
        )
    return shots.astype(np.int64)


def wrong_track(path: Path, what: str, remedy: str) -> ClipError:
    """Return the error of a file of landmarks that says what is wrong with it and what to do."""
    return ClipError(f"{path} {what}: {remedy}", "no landmarks")
