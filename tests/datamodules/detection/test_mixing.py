from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.common.loading import GlobalPermutation
from datamodules.detection.mixing import MixedPermutation, both
from visionscapes.errors import UserError


def sampler(real=20, generated=31, p=0.3, batch_size=4, **options):
    return MixedPermutation(real, generated, probability=p, batch_size=batch_size, **options)


def epochs(found, count, first=0):
    """Return the draws of some epochs, one list of batches each."""
    result = []
    for epoch in range(first, first + count):
        found.set_epoch(epoch)
        draws = list(found)
        size = found.batch_size
        result.append([draws[start : start + size] for start in range(0, len(draws), size)])
    return result


def test_a_batch_is_of_one_kind_and_the_coin_says_which():
    found = sampler()
    for epoch, batches in enumerate(epochs(found, 6)):
        assert len(batches) == 5 == len(found) // 4
        kinds = [{index >= 20 for index, _ in batch} for batch in batches]
        assert kinds == [{bool(coin)} for coin in found.coins(epoch)]


def test_no_picture_comes_twice_before_all_others_came_once():
    batches = [batch for epoch in epochs(sampler(real=20, generated=28, p=0.5), 40) for batch in epoch]
    for kind, size in ((False, 20), (True, 28)):
        draws = [draw for batch in batches for draw in batch if (draw[0] >= 20) == kind]
        assert len(draws) > 2 * size
        for passes in range(len(draws) // size):
            part = draws[passes * size : (passes + 1) * size]
            assert len({index for index, _ in part}) == size
            assert {number for _, number in part} == {passes}


def test_other_orders_in_other_passes_and_of_either_kind():
    first, second = epochs(sampler(p=0.0), 2)
    assert [index for batch in first for index, _ in batch] != [index for batch in second for index, _ in batch]
    of_real = epochs(sampler(real=20, generated=20, p=0.0), 1)[0]
    generated = epochs(sampler(real=20, generated=20, p=1.0), 1)[0]
    assert [[index - 20 for index, _ in batch] for batch in generated] != [[index for index, _ in b] for b in of_real]


@pytest.mark.parametrize("world_size", [1, 2])
def test_without_generated_pictures_it_is_plain_training(world_size):
    for rank in range(world_size):
        plain = GlobalPermutation(23, 2, 5, rank=rank, world_size=world_size)
        mixed = sampler(23, 9, p=0.0, batch_size=2, seed=5, rank=rank, world_size=world_size)
        for epoch in range(3):
            plain.set_epoch(epoch)
            mixed.set_epoch(epoch)
            assert list(mixed) == list(plain)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99), epoch=st.integers(0, 4), first=st.integers(0, 4), p=st.sampled_from([0.0, 0.2, 0.7, 1.0])
)
def test_an_interrupted_epoch_goes_on_in_the_middle(seed, epoch, first, p):
    whole = epochs(sampler(p=p, seed=seed), 1, epoch)[0]
    rest = sampler(p=p, seed=seed)
    rest.first_batch = first
    assert epochs(rest, 1, epoch)[0] == whole[first:]


def test_processes_agree_on_every_coin_and_share_its_batch():
    one = epochs(sampler(batch_size=4), 5)
    ranks = [epochs(sampler(batch_size=2, rank=rank, world_size=2), 5) for rank in range(2)]
    for together, first, second in zip(one, *ranks, strict=True):
        assert [sorted(batch) for batch in together] == [sorted(a + b) for a, b in zip(first, second, strict=True)]


def test_coins_fall_as_often_as_they_should():
    found = sampler(real=4000, p=0.2)
    coins = torch.cat([found.coins(epoch) for epoch in range(10)]).double()
    assert abs(float(coins.mean()) - 0.2) < 4 * (0.2 * 0.8 / len(coins)) ** 0.5
    assert Counter(coins.tolist())[1.0] > 0


def test_few_pictures_are_refused_of_either_kind():
    with pytest.raises(UserError, match="The training set has 3 samples"):
        sampler(generated=3)
    with pytest.raises(UserError, match="The training set has 3 samples"):
        sampler(real=3)


def test_samples_say_what_they_are():
    found = both([{"image": 1}, {"image": 2}], [{"image": 3}])
    assert [found[place] for place in range(3)] == [
        {"image": 1, "synthetic": False},
        {"image": 2, "synthetic": False},
        {"image": 3, "synthetic": True},
    ]
