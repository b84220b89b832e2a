import json

import numpy as np
import pytest

import callbacks
from callbacks.dense.keypoint_correspondence import KeypointCorrespondence
from callbacks.dense.video_propagation import VideoPropagation
from callbacks.results.array_files import folder_name
from callbacks.vit_analysis.report.arrays import PROTOCOLS, read_arrays, write_arrays
from tests.callbacks.vit_analysis.report import synthetic
from visionscapes.errors import UserError

ODD = ["MoCo S/16*", "MoCo S/16", "a b", "FS", "../up", "..", ".", "ü"]


def test_round_trip(tmp_path):
    models = [synthetic.model("MoCo S/16*", "MoCo", depth=3, heads=2, grid=(4, 5)), synthetic.random_model()]
    write_arrays(tmp_path, models)
    read = read_arrays(tmp_path)
    assert [model.name for model in read] == ["MoCo S/16*", "Random"]
    for before, after in zip(models, read, strict=True):
        assert (after.method, after.depth, after.heads, after.grid) == (
            before.method,
            before.depth,
            before.heads,
            before.grid,
        )
        assert set(after.arrays) == set(before.arrays)
        for protocol, arrays in before.arrays.items():
            assert set(after.arrays[protocol]) == set(arrays)
            for key, values in arrays.items():
                np.testing.assert_array_equal(after.get(protocol, key), values)
    assert read[1].get("attention", "cls_map") is None
    assert read[0].get("knn", "top7") is None


def test_a_second_writing_adds_protocols(tmp_path):
    write_arrays(tmp_path, [synthetic.model(without=("knn",))])
    whole = synthetic.model()
    write_arrays(tmp_path, [synthetic.model(without=[p for p in whole.arrays if p != "knn"])])
    assert set(read_arrays(tmp_path)[0].arrays) == set(whole.arrays)


@pytest.mark.parametrize("name", ODD)
def test_names_of_folders_stay_inside(tmp_path, name):
    folder = tmp_path / folder_name(name)
    assert folder.resolve().parent == tmp_path.resolve()
    assert folder != tmp_path


def test_different_names_have_different_folders():
    assert len({folder_name(name) for name in ODD}) == len(ODD)


def test_two_models_of_one_name(tmp_path):
    with pytest.raises(UserError, match="name of its own"):
        write_arrays(tmp_path, [synthetic.model(), synthetic.model()])


def test_no_models(tmp_path):
    with pytest.raises(UserError, match="give the folder of a finished run"):
        read_arrays(tmp_path)


@pytest.mark.parametrize("text", ["[{", '[{"name": "FS"}]', "3", '[{"name": "a", "grid": [8]}]'])
def test_damaged_list_of_models(tmp_path, text):
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "models.json").write_text(text)
    with pytest.raises(UserError, match=r"models\.json is damaged.*run the analysis again"):
        read_arrays(tmp_path)


def damage(path, how):
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flipped":  # a bit of the first array's values, after its header of 128 bytes
        at = content.index(b"\x93NUMPY") + 130
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif how == "pickled":
        np.savez(path, top1=np.array([{}], dtype=object))
    elif how == "other shape":
        np.savez(path, top1=np.zeros(7))
    elif how == "other dimensions":
        np.savez(path, top1=np.zeros((6, 1)))


@pytest.mark.parametrize("how", ["truncated", "empty", "flipped", "pickled", "other shape", "other dimensions"])
def test_damaged_file(tmp_path, how):
    write_arrays(tmp_path, [synthetic.model()])
    path = tmp_path / "arrays" / "FS" / "knn.npz"
    damage(path, how)
    with pytest.raises(UserError, match=r"knn\.npz is damaged.*delete it and run the analysis again"):
        read_arrays(tmp_path)
    problems: list[str] = []
    (model,) = read_arrays(tmp_path, problems)
    assert len(problems) == 1
    assert "knn" not in model.arrays
    assert model.get("video", "J&F") is not None


def test_a_file_that_breaks_while_it_is_used(tmp_path):
    write_arrays(tmp_path, [synthetic.model()])
    (model,) = read_arrays(tmp_path)
    damage(tmp_path / "arrays" / "FS" / "knn.npz", "truncated")
    with pytest.raises(UserError, match="is damaged"):
        model.get("knn", "top1")


def test_shapes_of_data_sets_are_checked_too(tmp_path):
    write_arrays(tmp_path, [synthetic.model()])
    np.savez(tmp_path / "arrays" / "FS" / "retrieval.npz", **{"some/set/medium": np.zeros(5)})
    with pytest.raises(UserError, match=r"some/set/medium has shape \(5,\), and a ViT like FS gives 6"):
        read_arrays(tmp_path)


def test_models_json_has_the_documented_fields(tmp_path):
    write_arrays(tmp_path, [synthetic.model(depth=3)])
    (entry,) = json.loads((tmp_path / "arrays" / "models.json").read_text())
    assert entry == {
        "name": "FS",
        "method": "FS",
        "depth": 3,
        "heads": 4,
        "patch_size": 8,
        "image_size": 64,
        "grid": [8, 8],
    }


def test_the_protocols_are_those_of_the_callbacks():
    """The report reads arrays by these names without importing the callbacks, which need torch."""
    classes = [getattr(callbacks, name) for name, module in callbacks.EXPORTS.items() if ".vit_analysis." in module]
    layered = {each.protocol for each in classes if hasattr(each, "protocol")}
    assert set(PROTOCOLS) == layered | {"keypoints", "video", "dense-video"}
    assert {KeypointCorrespondence.task, VideoPropagation.task} == {"keypoints", "video"}
