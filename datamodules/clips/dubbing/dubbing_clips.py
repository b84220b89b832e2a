"""Clips of talking heads to be dubbed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from datamodules.clips.clip_files import ClipFiles
from datamodules.clips.dubbing.pair_lists import listed_pairs
from datamodules.clips.dubbing.pairs import DubbingPairs, Pair, Setting, chosen_pairs, pairs_to_validate
from datamodules.clips.dubbing.prediction import MOST_TURNED, MostTurned, PredictsVideos, videos_at
from datamodules.clips.dubbing.schedule import Length
from datamodules.clips.dubbing.videos import VideosToDub
from datamodules.clips.dubbing.windows import DubbingWindows
from datamodules.clips.prepared_clips import Clips, holds_clips
from visionscapes.checks import NonNegativeInt, check_options
from visionscapes.errors import UserError


class DubbingClips(PredictsVideos, Clips):
    """Clips of talking heads to be dubbed: training windows, pairs of a video and a sound to evaluate.

    Batches are those of `DubbingWorld`, without what only a drawn mouth can tell: "opening" and "driving_opening".
    Training, task "sync", of prepared clips: as `Clips`, with "frame_mel" (B, W, 5, 80, 16) and "landmarks"
    (B, W, 5, 68, 2) in pixels of the faces. Validation and test, task "dub", one pair a batch.

    Pairs to test are drawn, or listed as the authors list theirs: text files with "<audio> <video>" a line, names of
    clips without suffix, which may leave out the folder test. Pairs of a list whose clips are not there are left out
    and counted. ``predict`` gives chunks of the frames of any video, see `VideosToDub`.

    Args:
        root: folder of prepared clips, in which train, val and test are folders or the shares below divide; or a video,
            a folder of videos or a pattern such as "videos/*.mp4".
        face_size: S in pixels; the box of the face, from forehead to chin, is stretched to a square.
        windows: W of a training sample.
        apart: frames between the starts of a sample's windows, at least.
        rounds: training samples of a clip in an epoch.
        val_share: of the people who train, if there is no folder val, are for validation; people are the folders below
            train, or below ``root``, and clips that lie in none are each of another.
        test_share: of the people, if none of these folders is there, are for the test; with 0 it is about all clips.
        faces: which faces are found in videos, and how; prepared clips have theirs.
        batch_size: training samples a batch and process.
        num_workers: processes that load, and that prepare videos.
        seed: of order, windows, pairs, and who is for validation and test.
        reconstruction: pairs of the test that are a video with its own sound; all of the list, or as many as clips, if
            None.
        cross: pairs of the test that are a video with the sound of another clip; all of the list, or as many as clips,
            if None.
        reconstruction_list: file with the pairs to reconstruct, each of one clip.
        cross_list: file with the pairs of two clips.
        video: to predict: a file, a folder or a pattern such as "videos/*.mp4"; that of ``root`` if None.
        audio: to predict: a file with the new sound of every video; the video's own if None.
        length: to predict: "trim" ends with the shorter of video and sound; where the sound is longer, "hold" holds the
            last picture and "loop" starts the video again.
        most_turned: to predict: degrees that a head may be turned to a side and still be dubbed.

    Attributes:
        drawn_faces: that there are none.

    Raises:
        UserError: an option is out of its bounds; in ``setup``, no clip is left, a list is none, or there are fewer
            pairs than asked for.
        DatasetNotFoundError: in ``setup``, if there is no clip.
    """

    eval_task = "dub"
    train_windows = DubbingWindows
    drawn_faces: ClassVar[bool] = False

    def __init__(
        self,
        root: str,
        reconstruction: NonNegativeInt | None = None,
        cross: NonNegativeInt | None = None,
        reconstruction_list: str | None = None,
        cross_list: str | None = None,
        video: str | None = None,
        audio: str | None = None,
        length: Length = "trim",
        most_turned: MostTurned = MOST_TURNED,
        **kwargs: Any,
    ):
        check_options(DubbingClips, locals())
        super().__init__(root, **kwargs)
        self.asked: Mapping[Setting, int | None] = {"reconstruction": reconstruction, "cross": cross}
        self.lists: Mapping[Setting, str | None] = {"reconstruction": reconstruction_list, "cross": cross_list}
        self.video, self.audio, self.length, self.most_turned = video, audio, length, most_turned

    @override
    def evaluated(self, part: str) -> DubbingPairs:
        if part == "test":
            return DubbingPairs(*self._pairs_to_test(), size=self.face_size)
        clips = self.clips(part)
        return DubbingPairs(clips, pairs_to_validate(len(clips), self.seed), size=self.face_size)

    @override
    def predicted(self) -> VideosToDub:
        return self.to_dub(videos_at(self._place_of_videos()))

    def _place_of_videos(self) -> str:
        if self.video is not None:
            return self.video
        if holds_clips(self.root):
            raise UserError(
                f"{self.root} holds prepared clips, which are heads cut out of their videos: name the video to dub as"
                " --data.init_args.video"
            )
        return str(self.root)

    def _pairs_to_test(self) -> tuple[ClipFiles, list[Pair]]:
        """Return the pairs of the lists, and those drawn of the test part where there is no list."""
        files = self.clips("all")
        drawn = {setting: 0 if self.lists[setting] else self.asked[setting] for setting in self.asked}
        pairs: list[Pair] = []
        if set(drawn.values()) != {0}:
            test = self.clips("test")
            place = {name: position for position, name in enumerate(files.names)}
            for setting, video, audio in chosen_pairs(len(test), seed=self.seed, **drawn):
                pairs.append(Pair(setting, place[test.names[video]], place[test.names[audio]]))
        for setting, path in self.lists.items():
            if path is not None and self.asked[setting] != 0:
                pairs += listed_pairs(Path(path).expanduser(), setting, files.names, self.asked[setting])
        return files, pairs
