import numpy as np

from datamodules.procedural.faces.canvas import Label
from datamodules.procedural.faces.faces import SETTING, face_identity, render_face
from datamodules.procedural.faces.heads import MOST, render_head, sample_turn
from datamodules.procedural.faces.identities import Pose, sample_view
from datamodules.procedural.scenes.scenes import generator


def test_a_frame_depends_on_seed_person_and_number_alone():
    head, part = render_head(1, 4, range(6), 32), render_head(1, 4, [5, 2], 32)
    assert head.images.shape == (6, 32, 32, 3)
    assert head.labels.shape == (6, 32, 32)
    assert head.landmarks.shape == (6, 68, 2)
    for key in ("labels", "landmarks"):
        assert np.array_equal(getattr(head, key)[[5, 2]], getattr(part, key))
        assert not np.array_equal(getattr(head, key)[0], getattr(head, key)[1])
    assert (head.images[[5, 2]] != part.images).mean() < 0.02
    assert np.abs(head.images[[5, 2]].astype(int) - part.images).mean() < 0.05
    assert not np.array_equal(head.images, render_head(2, 4, range(6), 32).images)


def test_landmarks_and_labels_are_those_of_the_single_face():
    head = render_head(0, 3, range(4), 64)
    for frame, pose in enumerate(head.poses):
        eyes = head.landmarks[frame, 36:48]
        face = render_face(0, 3, 64, pose=pose)
        # The expression moves lids, brows, lips and chin; the corners of the eyes stay.
        np.testing.assert_allclose(eyes[[0, 3, 6, 9]], face.landmarks[36:48][[0, 3, 6, 9]], atol=0.7)
        same = (head.labels[frame] == face.labels).mean()
        assert same > 0.97


def test_labels_lie_where_landmarks_say():
    head = render_head(5, 1, range(8), 128)
    for labels, points in zip(head.labels, head.landmarks, strict=True):
        x, y = points[30].astype(int)  # tip of the nose
        assert labels[y, x] == Label.NOSE
        x, y = points[48:60].mean(0).astype(int)
        assert labels[y, x] in (Label.MOUTH, Label.U_LIP, Label.L_LIP)


def test_all_frames_are_in_one_place():
    view = sample_view(generator(0, 2, SETTING))
    head = render_head(0, 2, range(10), 64)
    assert (head.labels[:, :4, 0] == Label.BACKGROUND).all()
    assert (head.images[:, :4, 0] == head.images[:1, :4, 0]).all()
    cloth = (head.labels == Label.CLOTH).all(0)
    assert cloth.sum() > 50
    assert np.ptp(head.images[:, cloth].astype(int), axis=0).max() <= 1
    middle = head.landmarks[:, 36:48].mean((0, 1)) / 64
    assert np.abs(middle - view.centre).max() < 0.1


def test_poses_reach_their_bounds_and_stay_within():
    rng = np.random.default_rng(0)
    poses = np.array([[pose.yaw, pose.pitch, pose.roll] for pose in (sample_turn(rng) for _ in range(2000))])
    assert (np.abs(poses) <= MOST).all()
    assert (np.abs(poses).max(0) > 0.95 * np.array(MOST)).all()
    assert np.abs(poses.mean(0)).max() < 0.7
    assert sample_turn(np.random.default_rng(0), 0.0) == Pose(0.0, 0.0, 0.0)
    assert [pose.yaw for pose in render_head(0, 0, range(3), 32, most_turned=0).poses] == [0.0] * 3


def test_another_identity_can_be_shown_in_the_same_place():
    other = face_identity(9, 9)
    own, given = render_head(0, 2, [0], 32), render_head(0, 2, [0], 32, identity=other)
    assert own.poses == given.poses
    assert not np.array_equal(own.labels, given.labels)
