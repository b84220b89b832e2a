import numpy as np
import pytest

from datamodules.clips.heads.transfer import eye_distance, most_frontal, relative_landmarks
from datamodules.procedural.faces.faces import render_face
from datamodules.procedural.faces.identities import Expression, Pose
from tests.helpers.heads import turning


def face(yaw=0.0, roll=0.0, mouth=0.0):
    return render_face(3, 2, 112, pose=Pose(yaw, 0.0, roll), expression=Expression(mouth=mouth)).landmarks


def test_a_source_that_is_the_drivers_reference_moves_as_the_driver():
    driver = turning()
    assert np.allclose(relative_landmarks(driver, driver[3], driver[3]), driver, atol=1e-4)


def test_the_movement_is_scaled_by_the_distance_of_the_eyes():
    driver, source = turning(), 2 * turning()[4] + 7
    assert eye_distance(source) == pytest.approx(2 * eye_distance(driver[4]))
    moved = relative_landmarks(driver, driver[4], source)
    assert moved.dtype == np.float32
    assert np.allclose(moved[4], source, atol=1e-4), "in its frame of reference the source is as it was"
    assert np.allclose(moved - source, 2 * (driver - driver[4]), atol=1e-4)


def test_the_shape_of_the_source_stays_where_that_of_the_driver_is_another():
    """A jaw that is wider than the driver's is as much wider in every frame."""
    driver = turning()
    source = driver[4].copy()
    source[:17, 0] += 9 * np.linspace(-1, 1, 17)
    moved = relative_landmarks(driver, driver[4], source)
    assert np.allclose((moved - driver)[:, :17, 0], 9 * np.linspace(-1, 1, 17), atol=1e-4)
    assert np.allclose((moved - driver)[:, 17:], 0, atol=1e-4)


@pytest.mark.parametrize(
    ("faces", "best"),
    [
        ([face(20), face(-12), face(1), face(15)], 2),
        ([face(0, roll=25), face(5), face(-25)], 1),
        ([face(1, mouth=0.8), face(2), face(1, mouth=0.5)], 1),  # nearly as frontal, with a shut mouth
        ([face(1, mouth=0.8), face(30)], 0),  # a shut mouth does not outweigh the turn
    ],
)
def test_the_most_frontal_frame(faces, best):
    assert most_frontal(np.stack(faces)) == best
