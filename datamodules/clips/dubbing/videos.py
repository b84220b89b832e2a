"""Videos to dub, read as streams of chunks of frames, in constant memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typing_extensions import override

from datamodules.clips.dubbing.one_video import HowToDub, VideoToDub
from datamodules.clips.dubbing.schedule import Length
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.video_chunks import VideoChunks, distinct_names
from visionscapes.checks import Bounds, ImageSize, NonNegativeFloat, PositiveInt, check_options
from visionscapes.errors import UserError

MOST_BYTES = 2**27  # of the frames of a chunk


class VideosToDub(VideoChunks[VideoToDub]):
    """Chunks of consecutive frames of videos, one video after the other, with their faces and the new sound.

    A chunk of F frames is a batch of task "predict": "video", "audio" and "name" str; "frames", F arrays (H, W, 3)
    uint8 RGB at the video's own size; "time" (F,) float64 in seconds after the first frame, and "index" (F,) int64,
    both of the dubbed video, which keeps the video's own times; "found" (F,) bool, which of them are to be dubbed;
    "fade" (F,) float32 in [0, 1], the weight of the new mouth, which rises and falls where faces come and go within a
    shot; "faces" (F, 3, S, S) uint8, seen upright; "roll" (F,) float32, radians by which the heads lean, clockwise on
    the screen, smoothed over time, and 0 where not "found"; "boxes" (F, 4) float32, whole pixels of the frames, which
    lie on the faces when they are turned by the roll about their middles; "landmarks" (F, 68, 2) float32 in pixels of
    the upright faces, all of which mean nothing where not "found"; "frame_mel" (F, 80, 16); "total", frames in all;
    "rate", a second; "steady", whether they are; "pixel_aspect", see `VideoInfo`; "seconds" so far, by part; "last"
    bool; and "counts", in the last chunk, see `counts_of`.

    A frame is not to be dubbed, and passes through, if its face is not found, scores less than ``faces`` asks for, is
    missing for more than 0.2 s, or is turned away. Of several faces ``faces`` chooses one. Whether a sound is speech is
    not known: music moves mouths too. Silence closes them, as far as the network has learned it.

    A video that cannot be dubbed is left out and told, unless it is the only one. Processes share the videos.

    Args:
        videos: files.
        audio: file with the new sound of all of them; None for each video's own.
        face_size: S in pixels.
        faces: which face, and how it is found; gaps of more than 0.2 s are not bridged in any case.
        length: what happens where the sound is longer or shorter than a video: "trim" ends with the shorter one;
            "hold" holds the last picture while the sound goes on, and "loop" starts the video again; with both, a video
            that is longer goes on in silence.
        chunk: F, at most; fewer of large frames.
        most_turned: degrees that a head may be turned to a side.
        fade: seconds in which a mouth comes and goes.

    Raises:
        UserError: an option is out of its bounds, or there is no video.
    """

    purpose, done = "dubbing", "dubbed"

    def __init__(
        self,
        videos: Sequence[Path],
        audio: Path | None = None,
        *,
        face_size: ImageSize,
        faces: FaceOptions = FaceOptions(),
        length: Length = "trim",
        chunk: PositiveInt = 32,
        most_turned: Annotated[float, Bounds(above=0, most=90)] = 50.0,
        fade: NonNegativeFloat = 0.16,
    ):
        check_options(VideosToDub, locals())
        if not videos:
            raise UserError("There is no video to dub: name one")
        how = HowToDub(face_size, faces, length, most_turned=most_turned, fade=fade)
        names = distinct_names(videos)
        super().__init__([VideoToDub(path, audio, name=name, how=how) for path, name in names.items()])
        self.chunk = chunk

    @override
    def chunk_of(self, video: VideoToDub) -> int:
        return max(1, min(self.chunk, MOST_BYTES // (3 * video.info.width * video.info.height)))
