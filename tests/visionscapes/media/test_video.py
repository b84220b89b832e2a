"""Frames of small videos whose pictures carry their number, of many containers and with times of all kinds."""

from fractions import Fraction

import numpy as np
import pytest

from tests.helpers.videos import HEIGHT, WIDTH, clicks, find_click, number_of, numbered, with_matrix, write_media
from visionscapes.media.containers import Damage
from visionscapes.media.errors import ClipError
from visionscapes.media.sound import read_sound
from visionscapes.media.video import probe, read_frames, steady_rate, timed_pictures

MANY = [
    ("a.mp4", "libx264", {}),
    ("a.mov", "libx264", {}),
    ("a.mkv", "libx264", {}),
    ("a.ts", "libx264", {}),
    ("a.flv", "libx264", {}),
    ("a.avi", "mpeg4", {"b": "2M"}),
    ("a.avi", "mpeg4", {"b": "2M", "bf": "2"}),
    ("a.avi", "libx264", {"bf": "0"}),
    ("a.avi", "libx264", {"bf": "3"}),
    ("a.h264", "libx264", {"bf": "3"}),
    ("a.mkv", "libx264", {"bf": "4", "b-pyramid": "normal"}),
    ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"}),
    ("a.mkv", "ffv1", {}),
    ("a.mp4", "mpeg4", {"b": "2M"}),
    ("a.mpg", "mpeg2video", {"b": "2M"}),
    ("a.mkv", "mjpeg", {"q": "2"}),
    ("a.gif", "gif", {}),
]


def numbers(path, rate=25.0, damage=None):
    return [number_of(frame) for frame in read_frames(path, rate, damage)]


def shown(stamps, tick, rate):
    """Return the index of the picture that is shown in the middle of each step of a steady rate, by a plain loop."""
    times = [Fraction(stamp) * tick - Fraction(stamps[0]) * tick for stamp in stamps]
    middle, found = 1 / Fraction(rate) / 2, []
    while middle <= times[-1]:
        found.append(max(index for index, time in enumerate(times) if time < middle))
        middle += 1 / Fraction(rate)
    return found


@pytest.mark.parametrize(("name", "codec", "options"), MANY, ids=[f"{name}-{codec}" for name, codec, _ in MANY])
def test_each_picture_of_each_container_once_and_in_order(tmp_path, name, codec, options):
    pixels = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
    path = write_media(
        tmp_path / name, [numbered(k) for k in range(40)], codec=codec, options=options or None, pixels=pixels
    )
    assert numbers(path, None) == list(range(40))
    assert numbers(path) == list(range(40))
    info = probe(path)
    assert (info.width, info.height, info.frames, info.has_sound, info.rotation) == (WIDTH, HEIGHT, 40, False, 0)
    assert info.rate == pytest.approx(25, rel=1e-3)
    assert info.seconds == pytest.approx(1.6, rel=1e-3)
    assert not info.variable_rate


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), 30, 50, 60, 15, 10, 1, 24, 12.5])
def test_other_rates_come_to_25_by_what_is_shown(tmp_path, rate):
    rate = Fraction(rate)
    pictures = [numbered(k) for k in range(max(3, int(2 * rate)))]
    path = write_media(tmp_path / "a.mp4", pictures, rate=rate)
    found = numbers(path)
    expected = shown(range(len(pictures)), 1 / rate, 25)
    assert found[: len(expected)] == expected
    assert set(found[len(expected) :]) <= {len(pictures) - 1}
    assert len(found) == -(-(len(pictures) * 25 / rate - Fraction(1, 2)) // 1), "the last picture stays for its time"


@pytest.mark.parametrize("rate", [24, 30, 50, 60, Fraction(30000, 1001)])
def test_pictures_of_other_rates_are_neither_late_nor_early(tmp_path, rate):
    """The middle of what is shown of each picture is the middle of its frame's time, on average over whole cycles."""
    path = write_media(tmp_path / "a.mp4", [numbered(k) for k in range(int(4 * rate))], rate=Fraction(rate))
    lag = [(k + 0.5) / 25 - (number + 0.5) / float(rate) for k, number in enumerate(numbers(path)[:75])]
    assert abs(np.mean(lag)) * 25 < (0.26 if rate == 50 else 0.1)
    assert max(map(abs, lag)) <= 0.5 / float(rate) + 1e-6


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.ts"])
@pytest.mark.parametrize("start", [0, 400])
def test_variable_rate_by_presentation_times(tmp_path, name, start):
    rng = np.random.default_rng(3)
    stamps = start + np.cumsum(np.concatenate([[0], rng.choice([7, 20, 33, 40, 41, 80, 333], 59)]))
    codec, options = ("libvpx", {"b": "2M", "deadline": "realtime"}) if name == "a.webm" else ("libx264", None)
    path = write_media(
        tmp_path / name,
        [numbered(k) for k in range(60)],
        stamps.tolist(),
        tick=Fraction(1, 1000),
        codec=codec,
        options=options,
    )
    for rate in (25, 30, 100):
        expected = shown(stamps.tolist(), Fraction(1, 1000), rate)
        found = numbers(path, rate)
        assert found[: len(expected)] == expected
        assert set(found[len(expected) :]) <= {59}
    assert numbers(path, None) == list(range(60))
    assert probe(path).variable_rate


def test_times_that_are_rounded_to_milliseconds_keep_their_own_rate(tmp_path):
    """At 30000 / 1001 pictures a second, every third time of an .mkv is rounded up, beyond the frame's own."""
    path = write_media(tmp_path / "a.mkv", [numbered(k) for k in range(90)], rate=Fraction(30000, 1001))
    assert numbers(path, 30000 / 1001) == list(range(90))
    assert not probe(path).variable_rate


@pytest.mark.parametrize(
    ("matrix", "rotation", "as_shown"),
    [
        ((1, 0, 0, 1), 0, lambda x: x),
        ((0, 1, -1, 0), 90, lambda x: np.rot90(x, -1)),
        ((-1, 0, 0, -1), 180, lambda x: np.rot90(x, 2)),
        ((0, -1, 1, 0), 270, lambda x: np.rot90(x, 1)),
        ((-1, 0, 0, 1), 0, lambda x: x[:, ::-1]),
        ((1, 0, 0, -1), 180, lambda x: x[::-1]),
        ((0, 1, 1, 0), 90, lambda x: x.transpose(1, 0, 2)),
        ((0, -1, -1, 0), 270, lambda x: np.rot90(x, 2).transpose(1, 0, 2)),
    ],
)
def test_pictures_are_turned_as_the_display_matrix_says(tmp_path, matrix, rotation, as_shown):
    path = write_media(tmp_path / "a.mp4", [numbered(5)] * 3)
    plain = next(read_frames(path))
    with_matrix(path, *matrix)
    turned = next(read_frames(path))
    assert np.array_equal(turned, as_shown(plain))
    assert turned.flags.c_contiguous
    info = probe(path)
    assert (info.height, info.width) == turned.shape[:2]
    assert info.rotation == rotation
    undone = np.rot90(turned[:, ::-1] if info.mirrored else turned, info.rotation // 90)
    assert np.array_equal(undone, plain), "rotation and mirrored say how it was turned"


COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [128, 128, 128], [200, 90, 30]])
WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # red's and blue's, by the number of the matrix


def planes(matrix, full, high):
    """Return planes (3, H, W) of stripes of `COLOURS` by the formulas of BT.601, BT.709 and BT.2020."""
    red, blue = WEIGHTS[matrix]
    rgb = COLOURS.repeat(16, 0)[None].repeat(high, 0) / 255
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    chroma = [(rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)]
    ranges = (255, 255, 0) if full else (219, 224, 16)
    return np.stack([ranges[0] * luma + ranges[2], *(ranges[1] * each + 128 for each in chroma)])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "said"), [(1, 1), (6, 6), (9, 9), (6, 2)])
def test_colours_follow_matrix_and_range(tmp_path, matrix, said, full):
    assert colour_error(tmp_path / "a.mkv", matrix, said=said, full=full, high=32) <= 2


def test_high_definition_without_a_matrix_is_bt_709(tmp_path):
    assert colour_error(tmp_path / "a.mkv", 1, said=2, full=False, high=720) <= 2


def colour_error(path, matrix, *, said, full, high):
    """Return the largest error of `COLOURS` in levels, away from the seams."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 7 * 16, high, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = said, 2 if full else 1
        values = np.round(planes(matrix, full, high)).clip(0, 255).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(values, format="yuv444p")
        frame.colorspace, frame.color_range = said, 2 if full else 1
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    picture = next(read_frames(path))
    return np.abs(picture[4, 8::16].astype(int) - COLOURS).max()


@pytest.mark.parametrize(
    ("codec", "pixels"),
    [("libx265", "yuv420p10le"), ("ffv1", "yuva420p"), ("png", "rgba"), ("ffv1", "gray"), ("png", "rgb24")],
)
def test_ten_bits_transparency_and_grey(tmp_path, codec, pixels):
    options = {"x265-params": "log-level=none", "crf": "12"}
    name = "a.mov" if codec == "png" else "a.mkv"
    path = write_media(tmp_path / name, [numbered(k) for k in range(5)], codec=codec, pixels=pixels, options=options)
    assert numbers(path) == list(range(5))
    assert next(read_frames(path)).shape == (HEIGHT, WIDTH, 3)


def test_odd_sizes(tmp_path):
    pictures = [numbered(k, WIDTH + 1, HEIGHT + 3) for k in range(3)]
    path = write_media(tmp_path / "a.mkv", pictures, codec="ffv1", pixels="yuv444p")
    assert [frame.shape for frame in read_frames(path)] == [(HEIGHT + 3, WIDTH + 1, 3)] * 3
    assert (probe(path).width, probe(path).height) == (WIDTH + 1, HEIGHT + 3)


def test_pixels_that_are_not_square_are_told_and_left(tmp_path):
    path = write_media(tmp_path / "a.mp4", [numbered(0)], marks={"sample_aspect_ratio": Fraction(4, 3)})
    assert probe(path).pixel_aspect == pytest.approx(4 / 3)
    assert probe(path).width == WIDTH
    assert next(read_frames(path)).shape == (HEIGHT, WIDTH, 3)


def test_frames_are_arrays_of_their_own(tmp_path):
    path = write_media(tmp_path / "a.mp4", [numbered(0), numbered(1)], rate=5)
    frames = list(read_frames(path))
    frames[0][:] = 7
    assert [number_of(frame) for frame in frames[1:]] == [0] * 4 + [1] * 5
    assert all(frame.flags.writeable and frame.dtype == np.uint8 for frame in frames)


def test_a_picture_that_stays_for_seconds(tmp_path):
    path = write_media(tmp_path / "a.mp4", [numbered(3)] * 2, [0, 9], rate=1, sound=clicks(10, 48000, [1]))
    assert numbers(path) == [3] * 250
    assert probe(path).has_sound


def test_a_picture_every_half_minute(tmp_path):
    path = write_media(tmp_path / "a.mkv", [numbered(k) for k in range(5)], rate=Fraction(1, 30))
    assert numbers(path, 0.1) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert (probe(path).seconds, probe(path).variable_rate) == (150, False)


def test_recordings_that_were_joined_go_on(tmp_path):
    parts = [
        write_media(
            tmp_path / f"{start}.ts", [numbered(start + k) for k in range(50)], sound=clicks(2, 48000, [1])
        ).read_bytes()
        for start in (0, 50)
    ]
    (tmp_path / "a.ts").write_bytes(b"".join(parts))
    damage = Damage()
    assert numbers(tmp_path / "a.ts", damage=damage) == list(range(100))
    assert damage == Damage(stamps=1)
    sound = read_sound(tmp_path / "a.ts")
    assert abs(find_click(sound, 16000) - 16000) <= 16
    assert abs(find_click(sound, 48000) - 48000) <= 0.04 * 16000


def test_larger_pictures_in_the_middle_are_made_as_large_as_the_first(tmp_path):
    one = write_media(tmp_path / "a.ts", [numbered(k) for k in range(4)])
    other = write_media(tmp_path / "b.ts", [numbered(k).repeat(2, 0).repeat(2, 1) for k in range(4, 8)])
    (tmp_path / "c.ts").write_bytes(one.read_bytes() + other.read_bytes())
    damage = Damage()
    assert numbers(tmp_path / "c.ts", None, damage) == list(range(8))


def test_a_cover_is_no_video_and_a_text_no_film(tmp_path):
    import av

    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as file:
        cover = file.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        file.mux(cover.encode(frame))
        file.mux(cover.encode(None))
    for reader in (probe, lambda path: next(read_frames(path))):
        with pytest.raises(ClipError, match="has no video") as error:
            reader(path)
        assert error.value.reason == "no video stream"
    write_media(tmp_path / "a.wav", sound=clicks(1, 8000, [0.5]), sound_rate=8000, sound_codec="pcm_s16le")
    with pytest.raises(ClipError, match="has no video"):
        probe(tmp_path / "a.wav")


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("This is no film.\n" * 100)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    cases = {
        "text.mp4": "cannot be read",
        "empty.mp4": "is empty",
        "folder.mp4": "is no file",
        "none.mp4": "There is no",
    }
    for name, message in cases.items():
        for reader in (probe, lambda path: next(read_frames(path))):
            with pytest.raises(ClipError, match=message) as error:
                reader(tmp_path / name)
            assert error.value.reason == "unreadable"
            assert name in str(error.value)


@pytest.mark.parametrize(
    "name", ["a b.mp4", 'it\'s "a".mp4', "größe 口.mp4", "-i.mp4", "a:b.mp4", "http:x.mp4", "a%03d.mp4"]
)
def test_names_of_all_kinds(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_media(tmp_path / "plain.mp4", [numbered(k) for k in range(3)]).rename(tmp_path / name)
    assert numbers(name) == [0, 1, 2]
    assert probe(name).frames == 3


def test_a_video_that_is_cut_off_gives_what_is_there(tmp_path):
    path = write_media(tmp_path / "a.mkv", [numbered(k) for k in range(50)], options={"bf": "0", "g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = numbers(path)
    assert found == list(range(len(found)))
    assert 5 <= len(found) < 40


def test_durations_that_the_header_claims_are_not_believed(tmp_path):
    path = write_media(tmp_path / "a.mp4", [numbered(k) for k in range(30)], sound=clicks(1.2, 48000, [1]))
    content = bytearray(path.read_bytes())
    for atom, skipped in ((b"mvhd", 16), (b"mdhd", 16), (b"tkhd", 20)):  # what precedes the duration
        place = -1
        while (place := content.find(atom, place + 1)) >= 0:
            content[place + 4 + skipped : place + 8 + skipped] = (2**31).to_bytes(4, "big")
    path.write_bytes(content)
    assert numbers(path) == list(range(30))
    assert (probe(path).frames, probe(path).seconds) == (30, pytest.approx(1.2))


def test_no_program_is_needed_on_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = write_media(tmp_path / "a.mp4", [numbered(k) for k in range(3)], sound=clicks(0.12, 48000, []))
    assert numbers(path) == [0, 1, 2]


def test_readers_side_by_side_and_left_half_way(tmp_path):
    path = write_media(tmp_path / "a.mp4", [numbered(k) for k in range(9)])
    readers = [read_frames(path) for _ in range(20)]
    for number in range(3):
        assert [number_of(next(reader)) for reader in readers] == [number] * 20
    for reader in readers:
        reader.close()
    path.unlink()


@pytest.mark.parametrize("start", [0, 700])
def test_pictures_with_their_own_times(tmp_path, start):
    """At any rate each picture comes once, at its time after the first; two at one time are one."""
    stamps = [start + stamp for stamp in (0, 3600, 18000, 18001, 29970)]
    path = write_media(tmp_path / "a.mp4", [numbered(k) for k in range(5)], stamps, tick=Fraction(1, 90_000))
    damage = Damage()
    shown = list(timed_pictures(path, damage))
    assert [number_of(one.picture) for one in shown] == [0, 1, 2, 4]
    assert [one.time for one in shown] == pytest.approx([0, 0.04, 0.2, 0.333])
    assert shown[-1].end > 0.333
    assert damage.stamps == 1
    with pytest.raises(ClipError, match=r"no\.mkv"):
        next(timed_pictures(tmp_path / "no.mkv"))


@pytest.mark.parametrize("rate", [12.5, 24, 24000 / 1001, 25, 30000 / 1001, 50, 60])
@pytest.mark.parametrize("digits", [9, 3])
def test_steady_pictures_have_a_rate(rate, digits):
    times = np.round(np.arange(200) / rate, digits)
    assert steady_rate(times, 200 / rate) == pytest.approx(rate, rel=1e-4)
    assert steady_rate(np.zeros(1), round(1 / rate, 6)) == pytest.approx(rate, rel=1e-4)
    times[100:] += 0.5 / rate
    assert steady_rate(times, 200.5 / rate) is None
