import numpy as np
import pytest

from datamodules.procedural.faces.canvas import Label
from datamodules.procedural.faces.drawing import BARE, HAIRY, draw_face
from datamodules.procedural.faces.identities import (
    sample_expression,
    sample_identity,
    sample_pose,
    sample_view,
)
from datamodules.procedural.faces.textures import BOUND


@pytest.fixture(scope="module")
def drawings():
    rngs = [np.random.default_rng(seed) for seed in range(40)]
    samplers = (sample_identity, sample_pose, sample_expression, sample_view)
    return [draw_face(*(sample(rng) for sample in samplers), 64) for rng in rngs]


def test_detail_never_takes_colours_out_of_their_range(drawings):
    """A colour that is cut off would change the mean of the picture, and so what a blurred picture shows."""
    for each in drawings:
        most = BOUND * (each.strands + each.pores) + each.freckles
        assert (each.smooth - most).min() >= -1e-6
        assert (each.smooth + most).max() <= 1 + 1e-6


def test_detail_is_where_hair_and_skin_are(drawings):
    for each in drawings:
        assert not each.strands[~np.isin(each.labels, HAIRY)].any()
        assert not each.pores[~np.isin(each.labels, BARE)].any()
        assert not each.freckles[~np.isin(each.labels, BARE)].any()
        assert (each.pores[each.labels == Label.SKIN].mean(-1) > 0.004).all()
    assert sum(each.freckles.max() > 0.01 for each in drawings) in range(5, 30), "some have freckles"


def test_colours_are_smooth_within_parts(drawings):
    """Inside hair, neighbours differ by shading alone."""
    for each in drawings:
        hair = each.labels == Label.HAIR
        inner = hair[1:-1, 1:-1] & hair[2:, 1:-1] & hair[:-2, 1:-1] & hair[1:-1, 2:] & hair[1:-1, :-2]
        steps = np.abs(each.smooth[1:-1, 1:-1] - each.smooth[1:-1, 2:]).max(-1)[inner]
        assert len(steps) == 0 or np.median(steps) < 0.02
