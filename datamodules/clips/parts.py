"""Who of a data set trains, validates and tests: the folders say it, or shares of the people."""

from collections.abc import Mapping, Sequence

import numpy as np

from visionscapes.seeding import derived_seed

PARTS = ("train", "val", "test")


def divided(names: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Return the positions of the clips of each part, such that no person is in two parts.

    Args:
        names: of the clips, with "/" between folders. If some lie in train, val or test, these folders are the parts,
            and the others belong to none; people are the folders below. Otherwise they are the folders at the top.
            A clip without such a folder is of a person of its own.
        shares: of the people, for "val" and "test"; where a share is not 0 and there are two people it is one at least.
        seed: of the choice.

    Returns:
        Of "train", "val" and "test", in order. Of folders only train is divided further, and only if there is no val.
        Without folders, and with a share of 0, the test is about all clips.
    """
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    for position, name in enumerate(names):
        folder, slash, _ = name.partition("/")
        if slash and folder in parts:
            parts[folder].append(position)
    by_folders = any(parts.values())
    if not by_folders:
        everybody = list(range(len(names)))
        parts["test"], parts["train"] = _taken(everybody, names, 0, share=shares["test"], seed=derived_seed(seed, 0))
    if not parts["val"]:
        depth = int(by_folders)
        parts["val"], parts["train"] = _taken(
            parts["train"], names, depth, share=shares["val"], seed=derived_seed(seed, 1)
        )
    if not by_folders and not parts["test"]:
        parts["test"] = list(range(len(names)))
    return parts


def _taken(
    positions: list[int], names: Sequence[str], depth: int, *, share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Return the clips of a share of the people, and the others."""
    person = {position: _person(names[position], depth) for position in positions}
    people = sorted(set(person.values()))
    count = max(1, round(share * len(people))) if share and len(people) > 1 else 0
    order = np.random.default_rng(seed).permutation(len(people))
    taken = {people[index] for index in order[:count]}
    return [each for each in positions if person[each] in taken], [
        each for each in positions if person[each] not in taken
    ]


def _person(name: str, depth: int) -> str:
    folders = name.split("/")
    return folders[depth] + "/" if len(folders) > depth + 1 else name
