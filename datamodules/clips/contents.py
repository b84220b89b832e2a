"""What a part of a data set of clips holds, to be looked over before a training."""

import hashlib

import numpy as np

from datamodules.clips.clip_files import ClipFiles
from datamodules.common.inspection.contents import Opened, PartContents

RATE = 25  # frames a second of prepared clips


def clip_contents(clips: ClipFiles) -> PartContents:
    """Return the contents of a part.

    Args:
        clips: prepared.
    """

    def open_clip(position: int) -> Opened:
        clip = clips[position]
        frames = clip.images(range(len(clip)))
        _ = clip.mel, clip.audio, clip.landmarks, clip.boxes  # each is checked when it is read
        digest = hashlib.blake2b(np.ascontiguousarray(frames).tobytes(), digest_size=16).digest()
        plain = bool((frames == frames[:1, :1, :1]).all())
        return Opened((frames.shape[2], frames.shape[1]), digest, plain)

    lengths = [len(clips[position]) for position in range(len(clips))]
    described = {
        "minutes": round(sum(lengths) / RATE / 60, 1),
        "frames of a clip, median": float(np.median(lengths)) if lengths else 0,
        "folders": len({path.parent for path in clips.paths}),
    }
    return PartContents(names=[str(path) for path in clips.paths], open=open_clip, described=described)
