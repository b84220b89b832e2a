"""The embedded world as clips to be dubbed."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from datamodules.clips.dubbing.pairs import DubbingPairs, Pair, chosen_pairs, pairs_to_validate
from datamodules.clips.dubbing.prediction import MOST_TURNED, MostTurned, PredictsVideos, videos_at
from datamodules.clips.dubbing.schedule import Length
from datamodules.clips.dubbing.videos import VideosToDub
from datamodules.clips.dubbing.windows import LEAST_FRAMES, DubbingWindows
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.talking_files import write_talking_video
from datamodules.clips.talking_world import TalkingWorld
from datamodules.procedural.scenes.scenes import generator
from datamodules.procedural.speech.silence import with_silence
from datamodules.procedural.speech.speech import Speech
from visionscapes.checks import NonNegativeInt, ShareBelowOne, check_options
from visionscapes.media.sound import write_sound
from visionscapes.options import group_of

SILENCE = 20  # stream of random numbers, apart from those of the other worlds
HEAD = 256  # pixels of the frames of a head and shoulders


class DubbingWorld(PredictsVideos, TalkingWorld):
    """Drawn people who talk, to be dubbed: training windows, pairs of a video and a sound to evaluate.

    Training batches are those of `TalkingWorld`, of task "sync", with "frame_mel" (B, W, 5, 80, 16) float32 in [-4, 4],
    the sound by which each frame is made (``networks.audio.frame_mels``), and "landmarks" (B, W, 5, 68, 2) float32 in
    pixels of the faces. Validation and test, one pair a batch: {"task": "dub", "setting": ["reconstruction" | "cross"],
    "name": ["<video>__<audio>"], "faces" and "driving_faces" (1, T, 3, S, S) uint8 RGB, "landmarks" and
    "driving_landmarks" (1, T, 68, 2) float32 in pixels of the faces, of the video and of the clip that the sound is
    from, "boxes" (1, T, 4) float32, "found" (1, T) bool, "frame_mel" (1, T, 80, 16), "mel" (1, 80, M) and "audio"
    (1, 640 T) float32 of the sound, "opening" and "driving_opening" (1, T) in [0, 1], of the mouth of either clip}. In
    the setting "reconstruction" a video gets its own sound, in the setting "cross" that of another person. ``predict``
    gives chunks of the frames of any video, see `VideosToDub`.

    Windows in which nobody speaks are rare in speech, and a generator that has seen none moves the mouth on when the
    sound stops. So everybody is silent for a share of each clip, in one stretch.

    Args:
        clips: to train on, each of another person.
        test_clips: of the test.
        val_clips: of the validation during training, which has two pairs of each; 0 leaves it out.
        seconds: of a clip.
        face_size: S, side of the faces in pixels; they are cut from forehead to chin and made square.
        windows: W of a training sample, all of one clip.
        apart: frames between the starts of a sample's windows, at least.
        rounds: training samples of a clip in an epoch.
        pauses: share of the rest of the time in which nobody speaks, between utterances.
        speech: "formants" of syllables without meaning, or real words by "espeak", which is the extra ``speech``.
        batch_size: training samples a batch and process.
        num_workers: processes that load.
        seed: of the worlds, of the pairs and of the order of training.
        silence: share of each clip in which nobody speaks, in one stretch somewhere.
        reconstruction: pairs of the test that are a video with its own sound; as many as clips if None.
        cross: pairs of the test that are a video with the sound of another clip; as many as clips if None.
        video: to predict: a file, a folder or a pattern such as "videos/*.mp4"; None draws a head and shoulders of the
            test, who gets the sound of another one.
        audio: to predict: a file with the new sound of every video; the video's own if None.
        length: to predict: "trim" ends with the shorter of video and sound; where the sound is longer, "hold" holds the
            last picture and "loop" starts the video again.
        faces: to predict: which faces are found in videos, and how.
        most_turned: to predict: degrees that a head may be turned to a side and still be dubbed.

    Attributes:
        drawn_faces: that there are no real ones.

    Raises:
        UserError: an option out of its range, clips that are too short for their windows, or more pairs than there are;
            in ``setup``, espeak-ng is asked for and not installed.
    """

    eval_task = "dub"
    drawn_faces: ClassVar[bool] = True
    train_windows, least_frames = DubbingWindows, LEAST_FRAMES

    def __init__(
        self,
        silence: ShareBelowOne = 0.25,
        reconstruction: NonNegativeInt | None = None,
        cross: NonNegativeInt | None = None,
        video: str | None = None,
        audio: str | None = None,
        length: Length = "trim",
        faces: FaceOptions = FaceOptions(),
        most_turned: MostTurned = MOST_TURNED,
        **kwargs: Any,
    ):
        check_options(DubbingWorld, locals())
        super().__init__(**kwargs)
        self.silence = silence
        self.pairs = chosen_pairs(self.counts["test"], reconstruction=reconstruction, cross=cross, seed=self.seed)
        self.video, self.audio, self.length, self.most_turned = video, audio, length, most_turned
        self.faces: FaceOptions = group_of(DubbingWorld, "faces", faces)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @override
    def speaker(self, part: str) -> Callable[[int], Speech]:
        return partial(speak_and_stop, self.world(part), speak=super().speaker(part), silence=self.silence)

    @override
    def evaluated(self, part: str) -> DubbingPairs:
        pairs = self.pairs if part == "test" else pairs_to_validate(self.counts[part], self.seed)
        return DubbingPairs(self.clips(part), pairs, size=self.face_size, also=("opening",))

    @override
    def predicted(self) -> VideosToDub:
        return self._drawn() if self.video is None else self.to_dub(videos_at(self.video))

    @override
    def teardown(self, stage: str) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _drawn(self) -> VideosToDub:
        """Write a head and shoulders of the test and the sound of another one into a temporary folder, to be dubbed."""
        pair = next(iter(reversed(self.pairs)), Pair("reconstruction", 0, 0))
        self._temporary = tempfile.TemporaryDirectory(prefix="dubbing-")
        folder, said = Path(self._temporary.name), self.speaker("test")
        video, audio = folder / f"clip-{pair.video}.mp4", folder / f"clip-{pair.audio}.wav"
        write_talking_video(video, said(pair.video), world=self.world("test"), index=pair.video, size=HEAD)
        write_sound(audio, said(pair.audio).audio)
        return self.to_dub([video], audio)


def speak_and_stop(world: int, index: int, *, speak: Callable[[int], Speech], silence: float) -> Speech:
    """Return the speech of the clip of an index, with a stretch of silence in it.

    Args:
        world: seed of the place of the stretch.
        index: of the clip.
        speak: gives what is said without the stretch.
        silence: share of its time.
    """
    return with_silence(speak(index), silence, generator(world, index, SILENCE))
