from pathlib import Path

import numpy as np
import torch

from callbacks.results.array_files import folder_name
from callbacks.results.array_store import ArrayStore, describe, fingerprint
from datamodules import SubjectWorld
from networks.vit_layers import LayeredViT, RandomFeatures
from tests.helpers.tiny_vit import TINIEST

TASKS = ("knn-train", "knn-test")


def store(
    root: Path,
    model: str = "m" * 64,
    data: object = "data",
    writes: bool = True,
    loaders: tuple[str, ...] = ("knn-train@64",),
) -> ArrayStore:
    return ArrayStore(root / "kept", root / "run" / "arrays", {"FS B/16": model}, data, loaders, writes)


def test_arrays_come_back_only_for_the_same_model_settings_and_data(tmp_path) -> None:
    arrays = {"top1": np.arange(3.0), "k": np.array(20)}
    store(tmp_path).keep("FS B/16", "knn", TASKS, {"k": 20}, arrays)
    found = store(tmp_path).find("FS B/16", "knn", TASKS, {"k": 20})
    assert found is not None
    assert {name: array.tolist() for name, array in found.items()} == {"top1": [0, 1, 2], "k": 20}
    assert store(tmp_path).find("FS B/16", "knn", TASKS, {"k": 10}) is None
    assert store(tmp_path).find("FS B/16", "retrieval", TASKS, {"k": 20}) is None
    assert store(tmp_path, model="n" * 64).find("FS B/16", "knn", TASKS, {"k": 20}) is None
    assert store(tmp_path, loaders=("knn-train@64", "knn-test@64")).find("FS B/16", "knn", TASKS, {"k": 20}) is None
    assert store(tmp_path, loaders=("knn-train@64", "images@64")).find("FS B/16", "knn", TASKS, {"k": 20}) is not None
    assert store(tmp_path, data="others").find("FS B/16", "knn", TASKS, {"k": 20}) is None


def test_a_damaged_file_counts_as_none_and_other_ranks_do_not_write(tmp_path) -> None:
    store(tmp_path, writes=False).keep("FS B/16", "knn", TASKS, {}, {"a": np.ones(1)})
    assert not list(tmp_path.rglob("*.npz"))
    store(tmp_path).keep("FS B/16", "knn", TASKS, {}, {"a": np.ones(100)})
    (path,) = tmp_path.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:200])
    assert store(tmp_path).find("FS B/16", "knn", TASKS, {}) is None


def test_the_report_finds_what_a_run_shows(tmp_path) -> None:
    store(tmp_path).show("knn", {"FS B/16": {"top1": np.ones(2)}})
    (path,) = tmp_path.rglob("*.npz")
    assert path == tmp_path / "run" / "arrays" / folder_name("FS B/16") / "knn.npz"


def test_names_of_models_stay_apart_as_files() -> None:
    names = ["FS", "FS B/16", "FS B_16", "FS:B 16", "MoCo S/16*", "..", "a/../b"]
    files = [folder_name(name) for name in names]
    assert len(set(files)) == len(names)
    assert not any("/" in name or name.strip(".") == "" for name in files)


def test_fingerprints_tell_weights_normalisation_and_size_apart() -> None:
    torch.manual_seed(0)
    vit = LayeredViT("vit_tiny_patch16_224", None, TINIEST)
    first = fingerprint(vit)
    assert fingerprint(vit) == first
    vit.data_size = 32
    assert fingerprint(vit) != first
    vit.data_size = 16
    vit.mean += 0.1
    assert fingerprint(vit) != first
    vit.mean -= 0.1
    vit.vit.blocks[0].mlp.fc1.bias.data[3] += 1e-3
    assert fingerprint(vit) != first
    assert fingerprint(RandomFeatures(8, 8, 16)) != fingerprint(RandomFeatures(8, 8, 16, uniform=True))


def test_data_are_described_by_what_their_batches_depend_on() -> None:
    first = describe(SubjectWorld(seed=1))
    assert describe(SubjectWorld(seed=1, num_workers=2, tasks=["parts"])) == first
    assert describe(SubjectWorld(seed=2)) != first
    assert describe(SubjectWorld(seed=1, analysis_batch=12)) != first
