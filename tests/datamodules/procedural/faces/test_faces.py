from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter

from datamodules.common.label_maps import CELEBA_MASK_NAMES
from datamodules.procedural.faces import geometry as geometry
from datamodules.procedural.faces.canvas import Label
from datamodules.procedural.faces.faces import face_identity, render_face, render_smooth, render_textures
from datamodules.procedural.faces.identities import Expression, Outfit, Pose

SIZE = 64
HAIRY = [Label.HAIR, Label.L_BROW, Label.R_BROW]
BARE = [Label.SKIN, Label.NOSE, Label.L_EAR, Label.R_EAR, Label.NECK]


@pytest.fixture(scope="module")
def faces():
    return [render_face(0, index, SIZE) for index in range(200)]


@pytest.fixture(scope="module")
def residuals():
    """(F, 2, S, S, 3) what two textures add to the smooth part of faces, and the label maps (F, S, S)."""
    pairs = [render_textures(0, index, SIZE, (0, 1)) / 255 - render_smooth(0, index, SIZE) for index in range(24)]
    return np.stack(pairs), np.stack([render_face(0, index, SIZE).labels for index in range(24)])


def bare_person(index, size=128, **turns):
    """A face that neither hair nor clothes hide."""
    person = face_identity(0, index)
    person = replace(person, hair=replace(person.hair, bald=True), outfit=Outfit(person.outfit.cloth))
    return render_face(0, index, size, identity=person, **turns)


def same(a, b):
    return all(np.array_equal(getattr(a, key), getattr(b, key)) for key in ("image", "labels", "landmarks"))


def power(values):
    """Return the share of the power of (..., S, S) at more than half the Nyquist frequency."""
    spectrum = np.abs(np.fft.fft2(values)) ** 2
    frequency = np.fft.fftfreq(values.shape[-1])
    high = np.hypot(frequency[:, None], frequency) > 0.25
    return (spectrum * high).sum() / spectrum.sum()


def test_a_face_is_a_function_of_seed_index_and_texture():
    face = render_face(3, 7, SIZE, texture=2)
    assert same(face, render_face(3, 7, SIZE, texture=2))
    for other in (render_face(3, 8, SIZE, texture=2), render_face(4, 7, SIZE, texture=2)):
        assert not np.array_equal(face.labels, other.labels)
    assert np.array_equal(render_textures(3, 7, SIZE, (0, 2))[1], face.image)


def test_shapes_and_ranges(faces):
    for face in faces:
        assert face.image.shape == (SIZE, SIZE, 3)
        assert face.image.dtype == face.labels.dtype == np.uint8
        assert face.landmarks.shape == (68, 2)
        assert face.landmarks.dtype == np.float32
        assert face.landmarks.min() > 0
        assert face.landmarks.max() < SIZE


def test_the_labels_are_those_of_celeba_mask_hq(faces):
    assert tuple(label.name.lower() for label in Label) == CELEBA_MASK_NAMES
    counts = np.bincount(np.concatenate([face.labels.ravel() for face in faces]), minlength=19)
    assert len(counts) == 19
    assert (counts > 0).all(), "every part occurs"
    shown = np.mean([[(face.labels == label).any() for label in Label] for face in faces], 0)
    for label in (Label.BACKGROUND, Label.SKIN, Label.NOSE, Label.U_LIP, Label.L_LIP, Label.NECK, Label.CLOTH):
        assert shown[label] == 1
    for label in (Label.EYE_G, Label.HAT, Label.EAR_R, Label.NECK_L):
        assert 0.05 < shown[label] < 0.4, "some wear it"


def test_left_is_the_viewers_left(faces):
    columns = np.arange(SIZE)
    for left, right in ((Label.L_EYE, Label.R_EYE), (Label.L_BROW, Label.R_BROW), (Label.L_EAR, Label.R_EAR)):
        for face in faces:
            sides = [(face.labels == label).sum(0) for label in (left, right)]
            if sides[0].any() and sides[1].any():
                assert sides[0] @ columns / sides[0].sum() < sides[1] @ columns / sides[1].sum()


def test_the_upper_lip_is_above_the_lower_one(faces):
    for face in faces:
        upper, lower = (np.nonzero(face.labels == label)[0].mean() for label in (Label.U_LIP, Label.L_LIP))
        assert upper < lower


@pytest.mark.parametrize("index", range(12))
def test_landmarks_lie_on_their_parts(index):
    face = bare_person(index, expression=Expression(mouth=0.1 * (index % 7), smile=0.2 * (index % 5), blink=0.3))
    columns, rows = np.floor(face.landmarks).astype(int).T

    def on(landmarks, *labels):
        near = binary_dilation(np.isin(face.labels, labels), np.ones((3, 3)))
        return near[rows[landmarks], columns[landmarks]].all()

    assert on(geometry.LEFT_EYE, Label.L_EYE)
    assert on(geometry.RIGHT_EYE, Label.R_EYE)
    assert on(geometry.LEFT_BROW, Label.L_BROW)
    assert on(geometry.RIGHT_BROW, Label.R_BROW)
    assert on(slice(27, 36), Label.NOSE)
    assert on(slice(49, 54), Label.U_LIP)
    assert on(slice(55, 60), Label.L_LIP)
    assert on([48, 54, 60, 64], Label.U_LIP, Label.L_LIP)  # the corners belong to both
    assert on(slice(61, 64), Label.U_LIP)
    assert on(slice(65, 68), Label.L_LIP)
    assert on(geometry.JAW, Label.SKIN)
    head = np.isin(face.labels, [*range(Label.SKIN, Label.L_EAR), *range(Label.MOUTH, Label.HAIR)])
    inside = binary_erosion(head, np.ones((3, 3)), iterations=3)
    assert not inside[rows[geometry.JAW], columns[geometry.JAW]].any()


def test_the_order_of_the_landmarks(faces):
    for face in faces:
        x, y = face.landmarks.T
        across = face.landmarks[16] - face.landmarks[0]
        assert (np.diff(face.landmarks[geometry.JAW] @ across) > 0).all()
        assert y[8] > max(y[0], y[16])
        assert (np.diff(y[geometry.BRIDGE]) > 0).all()
        assert x[36] < x[39] < x[42] < x[45]
        assert x[48] < x[54]
        assert x[60] < x[64]
        assert y[51] < y[62] <= y[66] < y[57]


def test_a_face_has_the_same_landmarks_at_any_size():
    small, large = render_face(0, 5, 48), render_face(0, 5, 192)
    np.testing.assert_allclose(4 * small.landmarks, large.landmarks, rtol=1e-4)


def test_textures_change_nothing_but_hair_brows_and_skin(residuals):
    for face in range(24):
        pictures = render_textures(0, face, SIZE, (0, 1, 2))
        changed = (pictures != pictures[0]).any((0, 3))
        labels = residuals[1][face]
        assert np.isin(labels[changed], HAIRY + BARE).all()
        assert changed[np.isin(labels, HAIRY)].mean() > 0.9 or not np.isin(labels, HAIRY).any()
        assert np.array_equal(render_face(0, face, SIZE, texture=2).labels, labels)
        assert np.array_equal(render_face(0, face, SIZE, 2).landmarks, render_face(0, face, SIZE).landmarks)


def test_strands_are_strong_and_skin_is_weak(residuals):
    values, labels = residuals
    brightness = values.mean(-1)
    assert 0.1 < np.sqrt((brightness**2).mean(1)[labels == Label.HAIR].mean()) < 0.2
    assert 0.02 < np.sqrt((brightness**2).mean(1)[labels == Label.SKIN].mean()) < 0.05


def test_texture_is_high_frequency(residuals):
    values, labels = residuals
    hair = values[:, 0].mean(-1) * (labels == Label.HAIR)
    skin = values[:, 0].mean(-1) * (labels == Label.SKIN)
    assert power(hair) > 0.7
    assert power(skin) > 0.7
    blurred = gaussian_filter(hair, (0, 3, 3))
    assert np.square(blurred).mean() < 0.005 * np.square(hair).mean(), "a blurred picture does not tell it"


def test_two_textures_have_nothing_in_common(residuals):
    values, labels = residuals
    for label in (Label.HAIR, Label.SKIN):
        first, second = values.mean(-1).swapaxes(0, 1)[:, labels == label]
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_the_smooth_face_is_the_mean_over_textures():
    pictures = render_textures(0, 11, SIZE, range(150)) / 255
    bound = 5 * pictures.std(0) / np.sqrt(150) + 0.5 / 255
    assert (np.abs(pictures.mean(0) - render_smooth(0, 11, SIZE)) <= bound + 1e-6).mean() > 0.9999


def test_strands_follow_their_direction():
    """Long hair hangs: beside the face, pixels below each other are alike, pixels beside each other are not."""
    person = face_identity(0, 0)
    person = replace(person, hair=replace(person.hair, length=2.2, waves=0.0, bald=False))
    smooth = render_smooth(0, 0, SIZE, identity=person, pose=Pose())
    face = render_face(0, 0, SIZE, identity=person, pose=Pose())
    detail = (face.image / 255 - smooth).mean(-1)
    lower = (face.labels == Label.HAIR) & (np.arange(SIZE)[:, None] > 40)
    below = np.corrcoef(detail[:-1][lower[:-1] & lower[1:]], detail[1:][lower[:-1] & lower[1:]])[0, 1]
    beside = np.corrcoef(detail[:, :-1][lower[:, :-1] & lower[:, 1:]], detail[:, 1:][lower[:, :-1] & lower[:, 1:]])[
        0, 1
    ]
    assert below > 0.5
    assert beside < 0.2


def test_one_person_under_many_poses_and_expressions():
    person = face_identity(0, 3)
    assert same(render_face(0, 3, SIZE, identity=person), render_face(0, 3, SIZE))
    assert not same(render_face(0, 4, SIZE, identity=person), render_face(0, 3, SIZE))
    assert person == face_identity(0, 3)
    assert person != face_identity(0, 4)
    middle = render_face(0, 3, SIZE, identity=person, pose=Pose(), expression=Expression())
    for turn in ({"pose": Pose(yaw=20)}, {"expression": Expression(smile=1)}):
        other = render_face(0, 3, SIZE, identity=person, **{"pose": Pose(), "expression": Expression()} | turn)
        assert not np.array_equal(middle.labels, other.labels)


def test_poses_turn_the_head():
    def marks(**degrees):
        return bare_person(1, pose=Pose(**degrees), expression=Expression()).landmarks

    middle = marks()
    yawed, pitched, rolled = marks(yaw=20) - middle, marks(pitch=15) - middle, marks(roll=12)
    assert yawed[30, 0] > yawed[36, 0] > yawed[0, 0] >= 0, "the nearer, the further it moves"
    np.testing.assert_allclose(yawed[:, 1], 0, atol=1e-5)
    assert (pitched[17:, 1] < 0).all()
    across = rolled[45] - rolled[36]
    assert np.rad2deg(np.arctan2(across[1], across[0])) == pytest.approx(12, abs=0.01)


def test_expressions_move_the_face():
    def face(**does):
        return bare_person(2, pose=Pose(), expression=Expression(**does))

    neutral = face()
    assert not (neutral.labels == Label.MOUTH).any()
    opened = face(mouth=1.0)
    assert (opened.labels == Label.MOUTH).sum() > 50
    assert opened.landmarks[8, 1] > neutral.landmarks[8, 1] + 3, "the chin follows"
    eyes = [(each.labels == Label.L_EYE).sum() for each in (neutral, face(blink=0.5), face(blink=1.0))]
    assert eyes[0] > eyes[1] > eyes[2]
    assert face(smile=1.0).landmarks[48, 1] < neutral.landmarks[48, 1] < face(smile=-1.0).landmarks[48, 1]
    raised = face(brows=1.0).landmarks - neutral.landmarks
    assert (raised[17:27, 1] < -1).all()
    assert np.allclose(np.delete(raised, range(17, 27), 0), 0)


def test_gaze_moves_the_irises_within_the_eyes():
    def dark(x):
        face = bare_person(2, pose=Pose(), expression=Expression(gaze=(x, 0.0)))
        darkness = (255.0 - face.image.mean(-1)) * (face.labels == Label.L_EYE)
        return darkness.sum(0) @ np.arange(128) / darkness.sum(), face

    (left, first), (right, second) = dark(-1.0), dark(1.0)
    assert left + 1 < right
    assert np.array_equal(first.labels, second.labels)


def test_what_a_person_wears_is_there():
    person = face_identity(0, 2)
    red = (0.8, 0.1, 0.1)
    parts = {"glasses": Label.EYE_G, "hat": Label.HAT, "earrings": Label.EAR_R, "necklace": Label.NECK_L}
    for worn, label in parts.items():
        hair = replace(person.hair, length=0.0)
        dressed, plain = (
            render_face(0, 2, 128, identity=replace(person, hair=hair, outfit=outfit), pose=Pose())
            for outfit in (Outfit(red, **{worn: red}), Outfit(red))
        )
        assert (dressed.labels == label).sum() > 10
        assert not (plain.labels == label).any()
    shades = replace(person, outfit=Outfit(red, glasses=red, shades=True))
    assert not np.isin(render_face(0, 2, 128, identity=shades).labels, [Label.L_EYE, Label.R_EYE]).any()
