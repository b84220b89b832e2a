import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_modules.gan_discovery.stages import Sizes, Stages
from visionscapes.errors import UserError


@pytest.mark.parametrize(
    ("left", "k", "tau"),
    [
        (300, 35, 4),
        (1000, 63, 8),  # what configs/gan_discovery.yaml has found for itself: 60 and 8
        (60_000, 490, 61),  # about what the thesis has: 500 and 100
        (0, 2, 2),
        (5, 4, 2),  # an SVM needs two
    ],
)
def test_k_and_tau_follow_from_the_images_left(left: int, k: int, tau: int) -> None:
    assert Stages().sizes_of(1, left) == (k, tau, left)


@given(st.integers(64, 10**6), st.integers(1, 1000))
def test_clusters_grow_as_slowly_as_their_number_and_may_lose_half(left: int, more: int) -> None:
    few, many = Stages().sizes_of(1, left), Stages().sizes_of(1, left + more)
    assert few.k <= many.k
    assert few.tau <= many.tau + 1  # rounding
    assert 2 * few.tau <= left / few.k + 1
    assert few.k < left


def test_what_is_given_is_kept() -> None:
    assert Stages(k=60, tau=8).sizes_of(3, 300) == Sizes(60, 8, 300)
    assert Stages(k=[60, 20]).sizes_of(2, 300) == (20, round(300 / 40), 300)
    assert Stages(tau=8).sizes_of(1, 300) == (35, 8, 300)
    with pytest.raises(UserError, match="2 values for 3 rounds"):
        Stages(k=[60, 20]).check_rounds(3)
