from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from tests.helpers.videos import numbered, write_media
from visionscapes.errors import UserError
from visionscapes.media.containers import LONGEST_HOLD, Clock, Damage, opened, told_if_unwritable
from visionscapes.media.errors import ClipError

TICK = Fraction(1, 1000)
FRAME = Fraction(1, 25)


def times(stamps, claimed=0, **options):
    damage = Damage()
    stream = SimpleNamespace(time_base=TICK, container=SimpleNamespace(duration=claimed * 1_000_000))
    clock = Clock(stream, damage, **options)
    frames = [SimpleNamespace(stamp=stamp) for stamp in stamps]
    timed = list(clock.times_of(frames, lambda frame: frame.stamp, lambda frame: FRAME))
    assert [frame for frame, _, _ in timed] == frames
    assert {duration for _, _, duration in timed} <= {FRAME}
    return [float(time) for _, time, _ in timed], damage.stamps


def test_times_are_those_of_the_stamps_and_missing_ones_follow():
    assert times([1000, 1040, 1333, 1340]) == ([1.0, 1.04, 1.333, 1.34], 0)
    assert times([1000, None, None, 1200]) == ([1.0, 1.04, 1.08, 1.2], 0)
    assert times([None, None]) == ([0.0, 0.04], 0)
    assert times([-80, -40, 0]) == ([-0.08, -0.04, 0.0], 0)


def test_jumps_are_taken_back_and_counted():
    ahead = (LONGEST_HOLD + 1) * 1000
    assert times([0, 40, ahead, ahead + 40]) == ([0.0, 0.04, 0.08, 0.12], 1)
    assert times([0, 40, ahead - 2000]) == ([0.0, 0.04, LONGEST_HOLD - 1], 0)
    assert times([9000, 9040, 0, 40, 80]) == ([9.0, 9.04, 9.08, 9.12, 9.16], 1), "a recording that was joined"
    assert times([9000, 9040, 9000]) == ([9.0, 9.04, 9.0], 0), "a small step back is told by the order alone"
    assert times([2**62, 0, 40])[0][1:] == pytest.approx([2.0**62 / 1000 + 0.04] * 2, rel=1e-6)


def test_a_stamp_that_alone_is_far_ahead_is_not_believed():
    assert times([0, 40, 300_000, 120, 160]) == ([0.0, 0.04, 0.08, 0.12, 0.16], 1)
    assert times([0, 40, 300_000, 300_040]) == ([0.0, 0.04, 300.0, 300.04], 0)
    assert times([0, 40, 300_000]) == ([0.0, 0.04, 300.0], 0)


def test_pauses_do_not_add_up_to_more_than_an_hour_or_what_the_file_claims():
    stamps = [500_000 * k for k in range(100)]
    assert 3600 - 500 < times(stamps)[0][-1] < 3600 + 10
    assert 20_000 - 500 < times(stamps, claimed=20_000)[0][-1] < 20_000 + 10
    assert times(stamps, claimed=10**9)[0][-1] == 500 * 99, "a day at most"


def test_the_first_frame_is_held_against_the_origin():
    assert times([5000, 5040], origin=Fraction(4)) == ([5.0, 5.04], 0)
    assert times([2**40, 2**40 + 40], origin=Fraction(4)) == ([4.0, 4.04], 1)


def open_it(path):
    with opened(path) as container:
        return container.streams


def test_files_that_cannot_be_opened(tmp_path):
    (tmp_path / "text.mp4").write_text("no film")
    for name in ("text.mp4", "none.mp4", "x" * 300 + ".mp4", "nul\0.mp4"):
        with pytest.raises(ClipError, match=r"text|none|xxx|nul") as error:
            open_it(tmp_path / name)
        assert error.value.reason == "unreadable"


def test_a_list_of_addresses_is_not_followed(tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://192.0.2.1/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(ClipError, match=r"list\.m3u8"):
        open_it(path)


def read_on(path):
    with opened(path):
        raise av.error.InvalidDataError(-1, "Invalid data found")


def test_an_error_of_the_reader_within_the_block_names_the_file(tmp_path):
    path = write_media(tmp_path / "a.mp4", [numbered(0)])
    with pytest.raises(ClipError, match=r"a\.mp4 cannot be read"):
        read_on(path)


def fill_the_disk(path):
    with told_if_unwritable(path):
        raise OSError(28, "No space left on device")


def test_errors_of_writing_name_the_file_and_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"a\.mp4 cannot be written \(No space left on device\): free some space"):
        fill_the_disk(tmp_path / "a.mp4")
