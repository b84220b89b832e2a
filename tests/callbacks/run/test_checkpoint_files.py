import os

import pytest
import torch

from callbacks.run.checkpoint_files import KINDS, differences, newest_checkpoint, newest_run, read_checkpoint
from callbacks.run.checkpointing import SafeCheckpointIO
from visionscapes.errors import UserError

STATE = {"state_dict": {"a": torch.arange(5.0)}, "global_step": 3, "loops": {}}


def test_newest_is_by_time_and_readable(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    names = ["checkpoints/last.ckpt", "hpc_ckpt_1.ckpt", "checkpoints/epoch=9.ckpt"]
    for age, name in enumerate(names):
        SafeCheckpointIO().save_checkpoint(STATE, tmp_path / name)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert newest_checkpoint(tmp_path) == tmp_path / names[0]
    (tmp_path / names[0]).write_bytes(b"torn")
    os.utime(tmp_path / names[0], (1000, 1000))
    assert newest_checkpoint(tmp_path) == tmp_path / names[1]


def test_folder_instead_of_a_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("value", [None, 5.5])
def test_parts_that_are_of_another_kind(tmp_path, name, value):
    torch.save({"state_dict": {}, "loops": {}, "global_step": 0} | {name: value}, tmp_path / "changed.ckpt")
    with pytest.raises(UserError, match=rf"changed\.ckpt was changed by hand: what it has as {name} is none"):
        read_checkpoint(tmp_path / "changed.ckpt")


def test_weights_that_are_no_numbers(tmp_path):
    spoilt = {"b": torch.ones(3), "c": torch.full((2, 2), float("nan")), "d": torch.tensor([1.0, float("nan")])}
    torch.save(STATE | {"state_dict": spoilt}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"a\.ckpt holds weights that are no numbers, c among 1"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_differences_are_those_of_shared_arguments():
    then = {"hyper_parameters": {"_class_path": "a.A", "lr": 0.1, "gone": 1, "_instantiator": "x"}}
    assert differences(then, {"class_path": "a.A", "init_args": {"lr": 0.1, "new": 2}}) == []
    changed = differences(then, {"class_path": "a.B", "init_args": {"lr": 0.2}})
    assert changed == ["class a.A there, a.B here", "lr 0.1 there, 0.2 here"]
    assert differences({}, {"class_path": "a.A", "init_args": {}}) == []


def test_a_list_and_a_tuple_of_the_same_values_do_not_differ():
    """A checkpoint has the one where the command line makes the other, in groups of options too."""
    then = {"hyper_parameters": {"_class_path": "a.A", "unet": {"sizes": [1, 2], "base": 8}}}
    now = {"class_path": "a.A", "init_args": {"unet": {"sizes": (1, 2), "base": 8}}}
    assert differences(then, now) == []
    now["init_args"]["unet"]["sizes"] = (1, 3)
    assert len(differences(then, now)) == 1


def test_options_in_groups_are_compared_one_by_one_whatever_they_were_called():
    name = "lightning_modules.GANDiscovery"
    now = {"class_path": name, "init_args": {"lr": 1, "stages": {"k": 60, "tau": 9}, "network": {"hidden": 2}}}
    old = {"_class_path": name, "lr": 1, "k": 60, "tau": 8, "hidden": 2}
    new = {"_class_path": name, "lr": 2, "stages": {"k": 60, "tau": 8}}
    assert differences({"hyper_parameters": old}, now) == ["stages.tau 8 there, 9 here"]
    assert differences({"hyper_parameters": new}, now) == ["lr 2 there, 1 here", "stages.tau 8 there, 9 here"]
    other = {"_class_path": "lightning_modules.ViTs", "models": {"a": {"weights": 1}}}
    found = differences(
        {"hyper_parameters": other}, {"class_path": "lightning_modules.ViTs", "init_args": {"models": {}}}
    )
    assert found == ["models {'a': {'weights': 1}} there, {} here"]


def test_the_newest_run_is_by_time(tmp_path):
    assert newest_run(tmp_path) is None
    for age, name in enumerate(("new", "old")):
        path = tmp_path / name / "checkpoints" / "last.ckpt"
        SafeCheckpointIO().save_checkpoint(STATE, path)
        os.utime(path, (1000 - age, 1000 - age))
    assert newest_run(tmp_path) == tmp_path / "new" / "checkpoints" / "last.ckpt"


def test_a_checkpoint_that_memory_cannot_hold_is_not_called_incomplete(tmp_path, monkeypatch):
    path = tmp_path / "large.ckpt"
    torch.save({"state_dict": {}, "global_step": 0, "loops": {}}, path)

    def load(*_, **__):
        raise MemoryError

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(UserError, match=r"large\.ckpt needs more memory than there is"):
        read_checkpoint(path)


def test_messages_name_a_few_of_many_checkpoints(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.ckpt").touch()
    with pytest.raises(UserError, match=r"there are 0\.ckpt, 1\.ckpt, 2\.ckpt, 3\.ckpt, 4\.ckpt and 4 more$"):
        read_checkpoint(tmp_path / "missing.ckpt")
