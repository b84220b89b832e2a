import numpy as np

from datamodules.clips.faces import smoothing
from datamodules.clips.faces.smoothing import (
    ARTICULATED,
    RIGID,
    runs,
    smoothed_angles,
    smoothed_boxes,
    smoothed_landmarks,
)
from datamodules.procedural.faces.faces import render_face
from networks.faces.landmarks import mouth_opening

WINDOW = 7
ALL, ONE = np.ones(60, bool), np.zeros(60, np.int64)


def head(count: int = 60) -> np.ndarray:
    """A head that nods, turns and comes nearer."""
    points = render_face(seed=0, index=0, size=128).landmarks.astype(np.float64)
    time = np.arange(count) / 25
    turn = np.exp(1j * 0.2 * np.sin(2 * np.pi * time)) * (1 + 0.1 * time)
    moved = (points[:, 0] + 1j * points[:, 1]) * turn[:, None] + 5 * np.sin(4 * np.pi * time)[:, None]
    return np.stack([moved.real, moved.imag], -1).astype(np.float32)


def test_movement_is_kept_without_delay() -> None:
    clean = head()
    smooth = smoothed_landmarks(clean, ALL, ONE, WINDOW)
    assert np.abs(smooth - clean).max() < 0.7  # the head moves by up to 8 pixels a frame
    assert np.abs(smooth[1:-1] - clean[1:-1]).mean() < 0.1 * np.abs(np.diff(clean, axis=0)).mean()


def test_a_crop_that_trembles_leaves_nothing_of_it() -> None:
    clean, rng = head(), np.random.default_rng(0)
    tremble = rng.normal(0, 1, (60, 1, 2))
    smooth = smoothed_landmarks((clean + tremble).astype(np.float32), ALL, ONE, WINDOW)
    assert np.abs(smooth - clean).mean() < 0.65 * np.abs(tremble).mean()
    second = [np.abs(np.diff(each, 2, axis=0)).mean() for each in (clean + tremble, smooth, clean)]
    assert second[1] < 0.45 * second[0]
    assert second[1] < 1.4 * second[2]
    noisy = clean + rng.normal(0, 1, clean.shape)
    still = np.setdiff1d(np.arange(68), ARTICULATED)
    smooth = smoothed_landmarks(noisy.astype(np.float32), ALL, ONE, WINDOW)
    assert np.abs(smooth - clean)[:, still].mean() < 0.6 * np.abs(noisy - clean).mean()


def test_the_mouth_opens_as_quickly_as_it_did() -> None:
    landmarks = head()
    landmarks[30, 60:68, 1] += [0, -4, -4, -4, 0, 4, 4, 4]  # one frame
    smooth = smoothed_landmarks(landmarks, ALL, ONE, WINDOW)
    assert np.allclose(mouth_opening(smooth), mouth_opening(landmarks), atol=0.02)
    assert not set(RIGID) & {*range(48, 68)}


def test_nothing_crosses_a_cut_or_a_gap() -> None:
    landmarks, found, shots = head(), ALL.copy(), ONE.copy()
    landmarks[20:], shots[20:] = landmarks[20:] + 300, 1
    found[40:45], landmarks[40:45] = False, 1e6
    smooth = smoothed_landmarks(landmarks, found, shots, WINDOW)
    for part in (slice(0, 20), slice(20, 40), slice(45, 60)):
        alone = smoothed_landmarks(landmarks[part], found[part], shots[part], WINDOW)
        assert np.allclose(smooth[part], alone, atol=1e-3)
    assert (smooth[40:45] == 0).all()


def test_short_runs_and_no_window_leave_what_was_found() -> None:
    landmarks = head(3)
    assert np.allclose(smoothed_landmarks(landmarks, ALL[:3], ONE[:3], WINDOW), landmarks, atol=1e-3)
    assert np.allclose(smoothed_landmarks(head(), ALL, ONE, 0), head(), atol=1e-3)
    assert (smoothed_landmarks(landmarks, ~ALL[:3], ONE[:3], WINDOW) == 0).all()


def test_boxes_are_steadier() -> None:
    boxes = np.tile(np.array([10, 10, 50, 60], np.float32), (60, 1))
    boxes[:, 3] += 3 * np.sin(np.arange(60) * 1.6)  # a chin, four times a second
    smooth = smoothed_boxes(boxes, ALL, ONE, WINDOW)
    assert np.allclose(smooth[:, :3], boxes[:, :3], atol=1e-4)
    assert smooth[10:-10, 3].std() < 0.2 * boxes[:, 3].std()


def test_runs_end_at_gaps_and_cuts() -> None:
    found = np.array([0, 1, 1, 1, 0, 0, 1], bool)
    shots = np.array([0, 0, 0, 1, 1, 1, 1])
    assert [(each.start, each.stop) for each in runs(found, shots)] == [(1, 3), (3, 4), (6, 7)]
    assert list(runs(np.zeros(3, bool), shots[:3])) == []


def test_pieces_of_a_long_run_give_what_the_whole_gives(monkeypatch) -> None:
    landmarks = head() + np.random.default_rng(0).normal(0, 1, (60, 68, 2)).astype(np.float32)
    whole = smoothed_landmarks(landmarks, ALL, ONE, WINDOW)
    monkeypatch.setattr(smoothing, "PIECE", 19)
    assert np.allclose(smoothed_landmarks(landmarks, ALL, ONE, WINDOW), whole, atol=1e-4)


def test_angles_are_smoothed_across_half_a_turn_and_not_across_a_cut():
    true = np.r_[np.linspace(3.0, 3.4, 40), np.full(40, -0.5)].astype(np.float32)
    trembling = true + np.random.default_rng(0).normal(0, 0.05, 80).astype(np.float32)
    found, shots = np.ones(80, bool), np.repeat([0, 1], 40)
    found[70:] = False
    smooth = smoothed_angles(np.angle(np.exp(1j * trembling)).astype(np.float32), found, shots, 7)
    assert np.abs(smooth).max() <= np.pi
    away = np.abs(np.angle(np.exp(1j * (smooth - true))))[:70]
    assert away.max() < 0.08
    assert away.std() < 0.04
    assert (smooth[70:] == 0).all()
