from itertools import product

from visionscapes.seeding import derived_seed


def test_every_part_and_their_order_count():
    places = list(product((0, 1, 2, 1000, -1), repeat=3))
    seeds = {derived_seed(*place) for place in places}
    assert len(seeds) == len(places)
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert derived_seed(0, 1, 2) in seeds
