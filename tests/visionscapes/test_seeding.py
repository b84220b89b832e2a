from itertools import product

from visionscapes.seeding import derived_seed, named_seed


def test_every_part_and_their_order_count():
    places = list(product((0, 1, 2, 1000, -1), repeat=3))
    seeds = {derived_seed(*place) for place in places}
    assert len(seeds) == len(places)
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert derived_seed(0, 1, 2) in seeds


def test_a_seed_of_a_name_is_the_same_on_every_machine():
    assert named_seed(0, "face 1") == 2007308517967345301
    assert len({named_seed(seed, name) for seed in range(5) for name in ("a", "b", "")}) == 15
    assert 0 <= named_seed(-1, "broken \udcff name") < 2**63
