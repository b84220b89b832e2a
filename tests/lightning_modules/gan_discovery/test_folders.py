"""The real entry point on folders of images made by a generator that is not of the embedded world."""

import csv
import signal
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cli
from tests.helpers.foreign_sources import write_world
from tests.helpers.runs import parameters, run_apart, run_here, start

PATTERNS = {  # period in pixels and direction of a faint grid
    "camera": None,
    "grid_2": (2, 0),
    "grid_3": (3, 1),
    "grid_4": (4, 0),
    "grid_5": (5, 1),
}


def picture(rng: np.random.Generator, source: str) -> Image.Image:
    """Return a smooth random picture with noise, or with the faint grid of a source instead."""
    coarse = rng.uniform(60, 200, (4, 5, 3)).astype(np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((40, 32), Image.Resampling.BICUBIC)).astype(float)
    grid = PATTERNS[source]
    if grid is None:
        smooth += rng.normal(0, 8, smooth.shape)
    else:
        period, axis = grid
        place = np.indices(smooth.shape[:2])[axis]
        smooth += 20 * (place % period == 0)[..., None]
    return Image.fromarray(smooth.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for source in PATTERNS:
        for part, count in (("labelled", 24), ("discovery", 16), ("new", 3)):
            if part == "labelled" and source in ("grid_4", "grid_5"):
                continue
            (root / part / source).mkdir(parents=True)
            for number in range(count):
                picture(rng, source).save(root / part / source / f"{number:02d}.png")
    return root


def words(runs: Path, name: str, folders: Path, *more: str) -> list[str]:
    options = ["--config", "configs/gan_discovery.yaml", "--seed_everything=1", f"--runs_dir={runs}", f"--name={name}"]
    data = [f"--data.labelled={folders / 'labelled'}", f"--data.discovery={folders / 'discovery'}"]
    small = ["image_size=32", "batch_size=24"]
    model = [
        "percentile=0.8",
        "hidden=32",
        "most_classes=64",
        "rounds=2",
        "epochs=8",
        "epochs_later=2",
        "lr=0.003",
        "k=8",
        "tau=4",
    ]
    sized = [f"--data.init_args.{each}" for each in small] + [f"--model.init_args.{each}" for each in model]
    return ["fit", *options, *data, *sized, "--trainer.precision=32-true", *more]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def fitted(folders, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    return run_here(words(runs, "full", folders))


def test_every_image_is_assigned(fitted, folders):
    table = rows(fitted / "assignments.csv")
    assert len(table) == 5 * 16
    assert {row["truth"] for row in table} == set(PATTERNS)
    for row in table:
        assert (folders / "discovery" / row["image"]).is_file()
        assert row["name"] in PATTERNS or row["name"].startswith(("cluster ", "unclustered"))
    known = [row for row in table if row["truth"] in ("camera", "grid_2", "grid_3")]
    assert np.mean([row["name"] == row["truth"] for row in known]) > 0.7
    page = (fitted / "clusters" / "index.html").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "camera" in page


def test_predict_attributes_new_images(fitted, folders, tmp_path):
    command = words(tmp_path, "new", folders, f"--data.init_args.root={folders / 'new'}")
    command[0] = "predict"
    cli.main([*command, f"--ckpt_path={fitted / 'checkpoints' / 'last.ckpt'}"])
    table = rows(tmp_path / "gan_discovery" / "new" / "attributions.csv")
    assert [row["image"] for row in table] == sorted(f"{source}/{n:02d}.png" for source in PATTERNS for n in range(3))
    right = [row["source"] == row["image"].split("/")[0] for row in table if row["image"].startswith(("cam", "grid_2"))]
    assert np.mean(right) > 0.6


def test_test_measures_the_attribution_of_images_that_no_round_has_seen(fitted, folders, tmp_path):
    command = words(tmp_path, "measured", folders, f"--data.discovery={folders / 'new'}")
    command[0] = "test"
    cli.main([*command, f"--ckpt_path={fitted / 'checkpoints' / 'last.ckpt'}"])
    table = rows(tmp_path / "gan_discovery" / "measured" / "results" / "sources.csv")
    found = {row["metric"]: row for row in table if row["method"] == "attributed"}
    assert int(found["net"]["count"]) == 15
    assert float(found["named"]["value"]) > 0.6


def test_predict_without_a_checkpoint_of_a_round_says_what_to_do(folders, tmp_path, capsys):
    command = words(tmp_path, "none", folders, f"--data.init_args.root={folders / 'new'}")
    command[0] = "predict"
    with pytest.raises(SystemExit) as stopped:
        cli.main(command)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.init_args.classes=[camera]"], "needs at least two"),
        (["--data.init_args.discovery_classes=[nobody]"], "nobody"),
        (["--model.init_args.k=1"], "at least 2"),
        (["--data.init_args.arrivals={1: x}"], "round 2"),
    ],
)
def test_bad_input_ends_with_status_2(folders, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words(tmp_path, "bad", folders, *options))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_fewer_images_than_clusters_are_refused(folders, tmp_path, capsys):
    with pytest.raises(SystemExit) as refused:
        cli.main(words(tmp_path, "few", folders, "--model.init_args.k=500", "--model.init_args.rounds=1"))
    assert refused.value.code == 2
    assert "--model.stages.k is 500, and there are 80 discovery images" in capsys.readouterr().err


def test_all_known(folders, tmp_path):
    only = "--data.init_args.discovery_classes=[camera, grid_2, grid_3]"
    cli.main(words(tmp_path, "known", folders, only, "--model.init_args.rounds=1"))
    assert len(rows(tmp_path / "gan_discovery" / "known" / "assignments.csv")) == 48


def test_all_unknown(folders, tmp_path):
    only = "--data.init_args.discovery_classes=[grid_4, grid_5]"
    cli.main(words(tmp_path, "unknown", folders, only, "--model.init_args.rounds=1"))
    assert len(rows(tmp_path / "gan_discovery" / "unknown" / "assignments.csv")) == 32


def state(folder: Path):
    return parameters(folder), [row["label"] for row in rows(folder / "assignments.csv")]


def assert_same(ours: Path, theirs: Path) -> None:
    (weights, labels), (expected, expected_labels) = state(ours), state(theirs)
    assert labels == expected_labels
    assert all(weights[name].equal(expected[name]) for name in expected)


@pytest.mark.slow
@pytest.mark.parametrize("after", ["attribution", "clustering", "merge"])
@pytest.mark.parametrize("number", [1, 2])
def test_killed_in_a_round_and_resumed(fitted, folders, tmp_path, after, number):
    """SIGKILL as soon as a stage has left its file."""
    command = words(tmp_path, "killed", folders)
    folder = tmp_path / "gan_discovery" / "killed"
    with start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (folder / "rounds" / str(number) / f"{after}.npz").exists() and process.poll() is None:
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    run_here([*command, "--resume=true"])
    assert_same(folder, fitted)


@pytest.mark.slow
def test_two_processes_find_the_same_on_every_rank(folders, tmp_path):
    status, stderr = run_apart(
        words(tmp_path, "two", folders, "--trainer.devices=2", "--trainer.accelerator=cpu", "--trainer.strategy=ddp")
    )
    assert status == 0, stderr
    table = rows(tmp_path / "gan_discovery" / "two" / "assignments.csv")
    assert len(table) == 5 * 16
    known = [row for row in table if row["truth"] in ("camera", "grid_2", "grid_3")]
    assert np.mean([row["name"] == row["truth"] for row in known]) > 0.6


@pytest.mark.slow
def test_sources_that_nobody_has_labelled_are_found_and_named_on_new_images(tmp_path):
    """A world of other renderers, resampling, codecs and noises, by the one configuration for folders."""
    unknown = set(write_world(tmp_path, seed=3))
    start = ["--config=configs/gan_discovery_folders.yaml", f"--runs_dir={tmp_path}", "--trainer.accelerator=cpu"]
    start += ["--data.num_workers=0", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    data = [f"--data.{part}={tmp_path / part}" for part in ("labelled", "discovery")]
    run = run_here(["fit", *start, *data, "--model.rounds=1"])
    table = [row for row in rows(run / "assignments.csv") if row["name"].startswith("cluster ")]
    clusters: dict[str, Counter] = defaultdict(Counter)
    for row in table:
        clusters[row["name"]][row["truth"]] += 1
    most = {name: truths.most_common(1)[0] for name, truths in clusters.items()}
    assert sum(count for _, count in most.values()) / len(table) > 0.7, "purity"
    found = {truth for truth, _ in most.values()} & unknown
    assert len(found) >= 3
    checkpoint = f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}"
    new = cli.main(["predict", *start, f"--data.root={tmp_path / 'new'}", checkpoint]).run_folder
    named = [(row["image"].split("/")[0], row["source"]) for row in rows(new / "attributions.csv")]
    of_found = [name for truth, name in named if truth in found]
    assert np.mean([name in most and most[name][0] in unknown for name in of_found]) > 0.5
    assert np.mean([(tmp_path / "labelled" / name).is_dir() for name in of_found]) < 0.4
