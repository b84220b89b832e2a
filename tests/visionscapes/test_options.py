from dataclasses import dataclass

import pytest

from visionscapes.errors import UserError
from visionscapes.options import group_of, plain


@dataclass(frozen=True)
class Group:
    size: int = 3
    extra: dict | None = None


class Owner:
    def __init__(self, group: Group = Group(size=7, extra={"a": 1})):
        self.group = group


def test_a_group_comes_built_or_as_a_dictionary_that_changes_the_default_of_its_owner():
    built = Group(size=4)
    assert group_of(Owner, "group", built) is built
    assert group_of(Owner, "group", {"size": 5}) == Group(size=5, extra={"a": 1})
    assert group_of(Owner, "group", {}) == Group(size=7, extra={"a": 1})


def test_plain_options_are_dictionaries_all_the_way_down():
    options = {"group": Group(extra={"deep": (1, 2)}), "lr": 0.1, "kind": Group}
    assert plain(options) == {"group": {"size": 3, "extra": {"deep": (1, 2)}}, "lr": 0.1, "kind": Group}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"size": 5, "sise": 5}, "Owner.group has no option sise: it has size, extra"),
        ({3: 5}, "Owner.group has no option 3: it has size, extra"),
        ("large", "Owner.group is 'large'; it has to be a Group, or a dictionary of size, extra"),
        (None, "Owner.group is None; it has to be a Group, or a dictionary of size, extra"),
    ],
)
def test_what_is_no_group_is_told(value, said):
    with pytest.raises(UserError) as told:
        group_of(Owner, "group", value)
    assert str(told.value) == said
