import numpy as np
import pytest

from datamodules.procedural.faces.motion import SWAY, sample_motion


@pytest.mark.parametrize("seed", range(6))
def test_heads_sway_slowly_and_within_their_bounds(seed):
    motion = sample_motion(np.random.default_rng(seed), 250)
    degrees = np.array([(pose.yaw, pose.pitch, pose.roll) for pose in motion.poses])
    assert (np.abs(degrees) <= SWAY).all()
    assert (np.ptp(degrees, 0) > 0.2 * np.array(SWAY)).all()
    assert np.abs(np.diff(degrees, axis=0)).max() < 1.0, "degrees a frame"


def test_eyes_blink_now_and_then():
    blink = np.array([each.blink for each in sample_motion(np.random.default_rng(0), 2500).expressions])
    assert 0 <= blink.min() <= blink.max() <= 1
    blinks = ((blink[1:-1] > 0.5) & (blink[1:-1] >= blink[:-2]) & (blink[1:-1] > blink[2:])).sum()
    assert 15 < blinks < 60, "in 100 s"
    assert (blink == 0).mean() > 0.7


def test_the_mouth_is_left_alone_and_any_number_of_frames_is_drawn():
    motion = sample_motion(np.random.default_rng(0), 1)
    assert len(motion.poses) == len(motion.expressions) == 1
    assert motion.expressions[0].mouth == motion.expressions[0].spread == 0
