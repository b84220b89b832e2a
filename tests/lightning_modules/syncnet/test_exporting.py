"""SyncNet's towers as files."""

import pytest
import torch

from lightning_modules.syncnet.exporting import FaceTower, SoundTower, towers
from tests.helpers.exported import exported, same_as
from tests.lightning_modules.syncnet.test_module import FREE, module


@pytest.mark.parametrize("network", [{}, {"norm": "group", **FREE}])
def test_the_towers_are_those_of_the_network(network):
    made = module(network=network).eval()
    faces, sound = made.exportable()
    same_as(faces, made.network.embed_faces)
    same_as(sound, made.network.embed_sound)
    assert isinstance(faces.network, FaceTower)
    assert isinstance(sound.network, SoundTower)


def test_each_has_its_own_weights_and_they_tell_from_where_on_mouth_and_sound_fit():
    made = module(network=FREE)
    with torch.no_grad():
        made.network.scale.fill_(4.0)
        made.network.shift.fill_(-1.0)
    faces, sound = towers(made.network)
    assert faces.about["same_from_cosine"] == sound.about["same_from_cosine"] == pytest.approx(0.25)
    weights = [{id(each) for each in part.network.network.parameters()} for part in (faces, sound)]
    shared = {id(made.network.scale), id(made.network.shift)}
    assert weights[0] & weights[1] == shared


@pytest.mark.slow  # 20 s
def test_in_both_formats(tmp_path):
    files = {f"syncnet_{tower}.{kind}" for tower in ("faces", "sound") for kind in ("onnx", "pt2")}
    assert set(exported(module(), tmp_path)) == files
