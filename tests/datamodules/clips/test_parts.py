import pytest

from datamodules.clips.parts import divided

NONE = {"val": 0.0, "test": 0.0}


def names_of(names, parts):
    return {part: [names[position] for position in positions] for part, positions in parts.items()}


def test_folders_are_the_parts():
    names = ["test/a/1", "train/b/1", "train/b/2", "val/c/1", "other/d/1", "train"]
    assert names_of(names, divided(names, {"val": 0.5, "test": 0.5}, 0)) == {
        "train": ["train/b/1", "train/b/2"],
        "val": ["val/c/1"],
        "test": ["test/a/1"],
    }


def test_without_a_folder_val_some_people_of_train_validate():
    names = [f"train/{person}/{clip}" for person in range(20) for clip in range(3)] + ["test/x/1"]
    parts = names_of(names, divided(names, {"val": 0.1, "test": 0.0}, 0))
    assert len(parts["val"]) == 6
    assert parts["test"] == ["test/x/1"]
    people = {part: {name.rpartition("/")[0] for name in each} for part, each in parts.items()}
    assert not people["train"] & people["val"]
    assert len(people["train"]) == 18


@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_in_two_parts(seed):
    names = [f"{person}/video/{clip}" for person in range(10) for clip in range(person + 1)] + ["alone", "other"]
    parts = names_of(names, divided(names, {"val": 0.25, "test": 0.25}, seed))
    people = [{name.partition("/")[0] for name in each} for each in parts.values()]
    assert [len(each) for each in people] == [7, 2, 3]  # 3 of 12, then 2 of the other 9
    assert len(set.union(*people)) == 12
    assert sum(map(len, parts.values())) == len(names)


def test_the_choice_depends_on_the_seed_and_not_on_the_order():
    names = [f"{person}/1" for person in range(30)]
    shares = {"val": 0.2, "test": 0.2}
    first = names_of(names, divided(names, shares, 0))
    again = names_of(names[::-1], divided(names[::-1], shares, 0))
    assert {part: sorted(each) for part, each in first.items()} == {part: sorted(each) for part, each in again.items()}
    assert names_of(names, divided(names, shares, 1)) != first


def test_without_a_share_the_test_is_about_all_and_one_person_trains():
    assert divided(["a/1", "a/2"], {"val": 0.5, "test": 0.0}, 0) == {"train": [0, 1], "val": [], "test": [0, 1]}
    assert divided(["a/1", "a/2"], {"val": 0.5, "test": 0.5}, 0)["train"] == [0, 1]
    assert divided([], NONE, 0) == {"train": [], "val": [], "test": []}
