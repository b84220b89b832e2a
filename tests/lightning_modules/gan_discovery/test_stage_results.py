import numpy as np
import pytest

from lightning_modules.gan_discovery.stage_results import computed_anew, digest

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_nothing_is_kept():
    calls = []
    for number in range(2):
        found = computed_anew("merge", "same", lambda number=number: calls.append(number) or {"labels": ARRAY + number})
        assert np.array_equal(found["labels"], ARRAY + number)
    assert calls == [0, 1]


@pytest.mark.parametrize("other", [("a", ARRAY + 1e-6), ("b", ARRAY), (ARRAY, "a"), ("a", ARRAY.T.copy()), ("a",)])
def test_a_fingerprint_tells_contents_and_their_order_apart(other):
    assert digest("a", ARRAY) == digest("a", ARRAY.copy())
    assert digest("a", ARRAY) != digest(*other)


def test_the_layout_in_memory_does_not_matter():
    assert digest(np.asfortranarray(ARRAY)) == digest(ARRAY)
    assert digest(np.repeat(ARRAY, 2, axis=1)[:, ::2]) == digest(ARRAY)
