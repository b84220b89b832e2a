"""A disk that is full half-way through a file: the old file stays whole, for every kind of file that a run leaves."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from callbacks.dense.feature_writer import write_features, write_picture
from callbacks.results.array_files import write_npz
from callbacks.results.csv_files import write_csv
from callbacks.results.figures import new_figure, save_figure
from callbacks.results.result import Result, write_results
from callbacks.results.result_table import ResultTable
from callbacks.run.backbone_writer import BackboneWriter
from callbacks.run.checkpointing import SafeCheckpointIO
from callbacks.run.run_log import RunLogWriter
from callbacks.run.run_record import RunRecord
from callbacks.source_discovery.cluster_report import ClusterReport
from callbacks.source_discovery.clustering_baseline import ClusteringBaseline
from callbacks.vit_analysis.report.arrays import AnalysedModel, write_arrays
from callbacks.vit_analysis.report.draw import draw_report
from command_line.lightning_cli import SavedConfig
from datamodules.detection.sparse.writing import write_all
from datamodules.translation import celeba_mask_hq
from experiments.records import Record, Records
from lightning_modules.gan_discovery.ood import write_table
from metrics.out_of_distribution import Separation
from tests.callbacks.source_discovery.cases import Images, labels_of, round_of, trainer_of
from tests.helpers.full_disk import largest_file
from visionscapes.errors import UserError
from visionscapes.files import write_text

SIZES = (3, 40)  # of the old and of the new content, in rows or the like


def rows(size: int) -> list[Result]:
    return [Result("keypoints", f"PCK {k}", "LiFT", 32, 0.1 * size, math.nan, size) for k in range(size)]


def noise(size: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(size).random(shape, np.float32)


def run_of(folder: Path, **more: object) -> SimpleNamespace:
    return SimpleNamespace(
        default_root_dir=str(folder),
        is_global_zero=True,
        world_size=1,
        precision="32",
        global_step=1,
        fast_dev_run=0,
        loggers=[],
        **more,
    )


def checkpoint(folder: Path, size: int) -> None:
    SafeCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.ones(100 * size)}}, folder / "last.ckpt")


def results(folder: Path, size: int) -> None:
    write_results(rows(size), folder / "results" / "keypoints.csv")


def table(folder: Path, size: int) -> None:
    write_csv(folder / "attributions.csv", ["image", "source"], [(f"{k}.png", "known") for k in range(size)])


def log_with_a_new_column(folder: Path, size: int) -> None:
    writer = RunLogWriter(str(folder))
    for step in range(size):
        writer.log_metrics({"loss of " + "many words " * size: step}, step)
    writer.save()


def log_with_more_rows(folder: Path, size: int) -> None:
    writer = RunLogWriter(str(folder))
    for step in range(size):
        writer.log_metrics({"loss": step * size}, step)
    writer.save()


def arrays(folder: Path, size: int) -> None:
    write_npz(folder / "arrays" / "knn.npz", {"top1": noise(size, size, 50)})


def features_of_k_means(folder: Path, size: int) -> None:
    ended = round_of(("attribution", labels_of(10 * size)))
    ClusteringBaseline().rows(trainer_of(folder, Images(with_truth=False)), None, ended)  # type: ignore[arg-type]


def models(folder: Path, size: int) -> None:
    write_arrays(folder, [AnalysedModel(f"model {k}", "DINO", 1, 1, 8, 32, (4, 4)) for k in range(size)])


def manifest(folder: Path, size: int) -> None:
    RunRecord(["cli.py"] * 20 * size).setup(run_of(folder), None, "fit")  # type: ignore[arg-type]


def saved_config(folder: Path, size: int) -> None:
    parser = SimpleNamespace(dump=lambda config, skip_none: "seed_everything: 0\n" * size)
    config = SimpleNamespace(clone=SimpleNamespace)
    SavedConfig(parser, config).save_config(run_of(folder), None, "fit")  # type: ignore[arg-type]


def record(folder: Path, size: int) -> None:
    metrics = [["PCK", "LiFT", 32, 0.5, None, k] for k in range(size)]
    Records(folder).save(Record("embedded-lift-seed0", "embedded", 0, [], {}, "", size, {}, metrics))


def features(folder: Path, size: int) -> None:
    write_features(torch.ones(size, 9, 9), {"method": "LiFT"}, folder / "features" / "cat.jpg.safetensors")


def backbone(folder: Path, size: int) -> None:
    module = SimpleNamespace(backbone_state=lambda: {"weight": torch.ones(100, size)})
    BackboneWriter().on_fit_end(run_of(folder), module)  # type: ignore[arg-type]


def figure_of(size: int) -> object:
    figure = new_figure(1 + size / 40, 1)
    figure.subplots().imshow(noise(size, 10 * size, size))
    return figure


def figure(folder: Path, size: int) -> None:
    save_figure(figure_of(size), folder / "pictures" / "figure.png")


def picture(folder: Path, size: int) -> None:
    image = torch.from_numpy(noise(size, 3, 5 * size, 5 * size))
    write_picture(image, torch.randn(8, 5, 6), folder / "pictures" / "cat.jpg.png", side=5 * size)


def label_map(folder: Path, size: int) -> None:
    celeba_mask_hq.write_label_map(SimpleNamespace(number=7, masks=size), folder)  # type: ignore[arg-type]


def page_of_clusters(folder: Path, size: int) -> None:
    ended = round_of(("attribution", labels_of(40, 40 - size)))
    ClusterReport().on_round_end(trainer_of(folder), None, ended)  # type: ignore[arg-type]


def page_of_an_analysis(folder: Path, size: int) -> None:
    models(folder, 3)
    draw_report(folder, ["A file is damaged. " * 20 * size])


def summary(folder: Path, size: int) -> None:
    evaluation = SimpleNamespace(protocol="keypoints", results=rows(size))
    ResultTable().on_test_end(run_of(folder, callbacks=[evaluation], logged_metrics={}), None)  # type: ignore[arg-type]


def document(folder: Path, size: int) -> None:
    write_text(folder / "lift.md", "# LiFT\n" * size)


def table_of_an_outlier_test(folder: Path, size: int) -> None:
    found = [(f"source {k}", "energy", Separation(0.1, 0.2, 0.3, 0.4, 0.5)) for k in range(size)]
    write_table(found, folder / "table.csv")


def two_texts_the_second_too_large(folder: Path, size: int) -> None:
    write_all({folder / "out.json": f"of {size}\n", folder / "out.removed.json": "1, " * size})


def two_texts_the_first_too_large(folder: Path, size: int) -> None:
    write_all({folder / "out.json": "1, " * size, folder / "out.removed.json": f"of {size}\n"})


KINDS: list[Callable[[Path, int], None]] = [
    checkpoint,
    results,
    table,
    log_with_a_new_column,
    log_with_more_rows,
    arrays,
    features_of_k_means,
    models,
    manifest,
    saved_config,
    record,
    features,
    backbone,
    figure,
    picture,
    label_map,
    page_of_clusters,
    page_of_an_analysis,
    summary,
    document,
    table_of_an_outlier_test,
]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    monkeypatch.setattr(celeba_mask_hq, "merge_masks", lambda size: (19 * noise(size, size, size)).astype(np.uint8))


@pytest.mark.parametrize("write", KINDS)
def test_the_old_file_stays_whole(write, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    write(old, SIZES[0])
    before = contents(old)
    write(new, SIZES[1])
    wanted = contents(new)
    largest = max((name for name in wanted if wanted[name] != before[name]), key=lambda name: len(wanted[name]))
    with largest_file(len(wanted[largest]) // 2), pytest.raises((OSError, UserError)):
        write(old, SIZES[1])
    after = contents(old)
    assert after.keys() == before.keys(), "nothing unfinished is left"
    assert after[largest] == before[largest]
    assert all(after[name] in (before[name], wanted[name]) for name in before), "of several files some may be new"
    write(old, SIZES[1])  # once there is space
    assert contents(old)[largest] != before[largest]


def test_the_two_files_of_a_sparse_copy_belong_together(tmp_path):
    for write in (two_texts_the_first_too_large, two_texts_the_second_too_large):
        write(tmp_path, SIZES[0])
        before = contents(tmp_path)
        with largest_file(2 * SIZES[1]), pytest.raises(UserError, match="File too large"):
            write(tmp_path, SIZES[1])
        assert contents(tmp_path) == before


def test_the_pictures_of_an_earlier_report_stay_until_the_new_one_is_there(tmp_path):
    page_of_an_analysis(tmp_path, 1)
    old = tmp_path / "pictures" / "figure_2_1_old.png"
    old.parent.mkdir()
    old.write_bytes(b"old")
    with largest_file((tmp_path / "index.html").stat().st_size + 1000), pytest.raises(OSError, match="too large"):
        page_of_an_analysis(tmp_path, SIZES[1])
    assert old.is_file()
    page_of_an_analysis(tmp_path, SIZES[1])
    assert not old.exists()
