import numpy as np
import pytest

from datamodules.clips.dubbing.schedule import scheduled

FIVE = np.arange(5) / 25
UNEVEN = np.array([0.0, 0.04, 0.2, 0.3])  # ends at 0.5


def lists(schedule):
    return schedule.sources.tolist(), schedule.times.round(6).tolist()


@pytest.mark.parametrize("length", ["trim", "hold", "loop"])
def test_with_sound_of_the_same_length_the_video_stays_as_it_is(length):
    schedule = scheduled(FIVE, 0.2, 0.2, length)
    assert lists(schedule) == ([0, 1, 2, 3, 4], [0, 0.04, 0.08, 0.12, 0.16])
    assert (schedule.held, schedule.repeated, schedule.trimmed) == (0, 0, 0)
    assert schedule.sound_left_out == schedule.silence == pytest.approx(0)
    assert (schedule.steady, schedule.rate) == (True, 25)


def test_trim_ends_with_the_shorter_one():
    short = scheduled(FIVE, 0.2, 0.11, "trim")  # the middle of the third picture is at 0.10
    assert short.sources.tolist() == [0, 1, 2]
    assert (short.trimmed, round(short.silence, 6), short.sound_left_out) == (2, 0.01, 0)
    assert scheduled(FIVE, 0.2, 0.09, "trim").sources.tolist() == [0, 1]
    assert scheduled(FIVE, 0.2, 0.0, "trim").sources.tolist() == [0], "a video has one picture at least"
    long = scheduled(FIVE, 0.2, 1.2, "trim")
    assert long.sources.tolist() == [0, 1, 2, 3, 4]
    assert (long.trimmed, round(long.sound_left_out, 6), long.silence) == (0, 1.0, 0)


@pytest.mark.parametrize("length", ["hold", "loop"])
def test_a_video_that_is_longer_goes_on_in_silence(length):
    schedule = scheduled(FIVE, 0.2, 0.11, length)
    assert len(schedule) == 5
    assert (schedule.trimmed, round(schedule.silence, 6)) == (0, 0.09)


def test_hold_shows_the_last_picture_while_the_sound_goes_on():
    schedule = scheduled(FIVE, 0.2, 0.3, "hold")
    assert lists(schedule) == ([0, 1, 2, 3, 4, 4, 4], [0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24])
    assert (schedule.held, schedule.repeated) == (2, 0)
    assert round(schedule.sound_left_out, 6) == 0.02
    one = scheduled(np.zeros(1), 0.04, 2.0, "hold")
    assert (len(one), set(one.sources.tolist()), one.held) == (50, {0}, 49)


def test_loop_starts_the_video_again():
    schedule = scheduled(FIVE, 0.2, 0.5, "loop")
    assert schedule.sources.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2][:12]
    assert np.allclose(schedule.times, np.arange(12) / 25)
    assert (schedule.held, schedule.repeated) == (0, 7)


def test_times_of_their_own_stay():
    schedule = scheduled(UNEVEN, 0.5, 9.0, "trim")
    assert not schedule.steady
    assert schedule.rate == 8
    assert lists(schedule) == ([0, 1, 2, 3], UNEVEN.tolist())
    held = scheduled(UNEVEN, 0.5, 0.75, "hold")
    assert lists(held) == ([0, 1, 2, 3, 3, 3], [*UNEVEN.tolist(), 0.5, 0.625])
    looped = scheduled(UNEVEN, 0.5, 1.0, "loop")
    assert lists(looped) == ([0, 1, 2, 3, 0, 1, 2, 3], [*UNEVEN.tolist(), *(0.5 + UNEVEN).tolist()])
    assert scheduled(UNEVEN, 0.5, 0.13, "trim").sources.tolist() == [0, 1], "the second is shown from 0.04 to 0.2"


@pytest.mark.parametrize("length", ["trim", "hold", "loop"])
def test_times_rise_and_each_picture_is_heard_where_there_is_more_sound(length):
    generator = np.random.default_rng(0)
    for _ in range(200):
        times = np.append(0, generator.uniform(0.01, 0.2, generator.integers(0, 9))).cumsum()
        end, sound = float(times[-1] + 0.05), float(generator.uniform(0, 3))
        schedule = scheduled(times, end, sound, length)
        assert (np.diff(schedule.times) > 0).all()
        assert schedule.times[0] == 0
        if length == "trim":
            assert schedule.times[-1] < max(sound, 1e-9) or len(schedule) == 1
        else:
            assert len(schedule) == len(times) + schedule.held + schedule.repeated
            assert schedule.sound_left_out < 0.2, "a picture at most, whose middle is not heard"
