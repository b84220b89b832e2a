import csv
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_modules.gan_discovery.detectors import fit_detectors
from lightning_modules.gan_discovery.ood import Options, compare, main, read_samples, scores_of
from lightning_modules.gan_discovery.wta import WTAHash
from metrics.out_of_distribution import separation
from networks.out_of_distribution_scores import energy, max_softmax, nearest_neighbours
from visionscapes.errors import UserError

CLASSES, DIM = 3, 12
PROTOTYPES = np.random.default_rng(9).random((2 * CLASSES, DIM))


def samples(count=60, seed=0, noise=0.3, others=False, **more):
    """Return samples of three classes, or of three others."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    features = PROTOTYPES[labels + CLASSES * others] + noise * generator.random((count, DIM))
    return {"features": features.astype(np.float32), "labels": labels, **more}


def with_logits(found):
    return found | {"logits": 5 * found["features"] @ PROTOTYPES[:CLASSES].T}


def saved(folder, name, arrays):
    path = folder / f"{name}.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture
def files(tmp_path):
    train, inside = samples(), samples(seed=1)
    far, near = samples(seed=2, others=True), samples(seed=3, noise=2)
    return {
        name: saved(tmp_path, name, with_logits(each))
        for name, each in {"train": train, "inside": inside, "far": far, "near": near}.items()
    }


def words(files, *more):
    outside = [f"{name}={files[name]}" for name in ("far", "near")]
    return ["--train", files["train"], "--inside", files["inside"], "--outside", *outside, "--hashes", "128", *more]


def test_scores_are_those_of_the_parts():
    train, group = samples(), with_logits(samples(seed=1))
    options = Options(hashes=64, percentile=0.8, neighbours=4, temperature=2, seed=3)
    found = scores_of(train, [group], options)
    wta = WTAHash.fit(train["features"], 64, seed=3)
    detectors = fit_detectors(wta(train["features"]), train["labels"], range(3), 0.8, seed=3)
    margins = detectors.thresholds - detectors.distances(wta(group["features"]))
    assert list(found) == ["WTA", "k-NN", "max softmax", "energy"]
    assert np.array_equal(found["WTA"][0], margins.max(1))
    features, reference, logits = (torch.from_numpy(x) for x in (group["features"], train["features"], group["logits"]))
    assert np.array_equal(found["k-NN"][0], nearest_neighbours(features, reference, 4).numpy())
    assert np.array_equal(found["max softmax"][0], max_softmax(logits).numpy())
    assert np.array_equal(found["energy"][0], energy(logits, 2).numpy())


def test_scores_that_not_every_group_has_are_left_out():
    train, inside, outside = samples(), with_logits(samples(seed=1)), samples(seed=2, others=True)
    assert list(scores_of(train, [inside, outside])) == ["WTA", "k-NN"]
    scores = np.arange(60.0)
    rows = compare(train, samples(odin=scores), {"far": samples(others=True, odin=scores - 30)})
    assert [(name, method) for name, method, _ in rows] == [("far", method) for method in ("WTA", "k-NN", "ODIN")]
    assert rows[2][2] == separation(scores, scores - 30)


def test_other_classes_are_found_to_be_outside():
    far = {"far": samples(seed=2, others=True)}
    for _, method, found in compare(samples(), samples(seed=1), far, Options(neighbours=5)):
        assert found.auroc > 0.95, method


def test_command_line(files, tmp_path, capsys):
    table = tmp_path / "made" / "table.csv"
    assert main(words(files, "--output", str(table), "--neighbours", "5")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["outside", "method"] for line in lines)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["outside", "method", "FPR at 95% TPR", "detection error", "AUROC", "AUPR in", "AUPR out"]
    methods = ["WTA", "k-NN", "max softmax", "energy"]
    assert [(row["outside"], row["method"]) for row in rows] == [(a, b) for a in ("far", "near") for b in methods]
    shown = next(line for line in lines if "WTA" in line).split()
    assert shown[2:] == [f"{100 * float(value):.1f}" for value in list(rows[0].values())[2:]]


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_as_a_program(files, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ood", *words(files, "--percentile", "1")])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("lightning_modules.gan_discovery.ood", run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: --hashes, --neighbours and --temperature have to be positive, --percentile between 0 and 1\n"
    )


def test_errors_come_with_a_remedy(files, tmp_path, capsys):
    def error(*given):
        assert main(given) == 2
        return capsys.readouterr().err

    start = ("--train", files["train"], "--inside", files["inside"], "--outside")
    far = files["far"]
    assert "write it as NAME=OUT.npz" in error(*start, far)
    assert "the same name twice" in error(*start, f"a={far}", f"a={far}")
    assert "there is no file" in error(*start, "a=none.npz")
    narrow = saved(tmp_path, "narrow", {"features": np.ones((4, 5))})
    assert "have 5 dimensions" in error(*start, f"a={narrow}")
    unlabelled = saved(tmp_path, "unlabelled", {"features": np.ones((4, DIM))})
    assert "no array 'labels'" in error("--train", unlabelled, "--inside", far, "--outside", f"a={far}")
    flat = saved(tmp_path, "flat", {"features": np.ones((4, DIM)), "labels": np.zeros(4, int)})
    assert "features that vary" in error("--train", flat, "--inside", far, "--outside", f"a={far}")
    (tmp_path / "taken").mkdir()
    assert "choose another file" in error(*words(files, "--output", str(tmp_path / "taken")))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.ones(4)}, r"'features' in .* has the shape \(4,\); it has to have 2 dimensions"),
        ({"features": np.ones((0, 3))}, "at least one"),
        ({"features": np.ones((4, 3)), "logits": np.ones((3, 2))}, "as many rows"),
        ({"features": np.ones((4, 3)), "odin": np.ones((4, 1))}, "1 dimension and"),
        ({"features": np.ones((4, 3)), "labels": np.ones(4)}, "have to be integers"),
        ({"features": np.full((4, 3), np.nan)}, "no finite number"),
        ({"features": np.full((4, 3), "a")}, "no finite number"),
        ({"features": np.full((4, 3), None)}, "cannot be read"),
        ({"logits": np.ones((4, 3))}, "no array 'features'"),
    ],
)
def test_files_that_do_not_fit(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message):
        read_samples(Path(saved(tmp_path, "wrong", arrays)))


def test_files_that_are_none(tmp_path):
    (tmp_path / "text.npz").write_text("features")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "one.npy", np.ones((4, 3)))
    for name in ("text.npz", "cut.npz", "empty.npz", "one.npy"):
        with pytest.raises(UserError, match="cannot be read as an npz file"):
            read_samples(tmp_path / name)
