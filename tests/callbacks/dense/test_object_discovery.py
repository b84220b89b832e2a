import csv

import pytest
import torch
from torch.utils.data import DataLoader, Subset

from callbacks.dense.object_discovery import ObjectDiscovery
from callbacks.dense.scale_invariance import ScaleInvariance
from callbacks.results.result_table import ResultTable
from tests.helpers.dense_case import Objects, TinyModule, collate, object_discovery_loaders, run_test
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError


def test_finds_the_objects_at_every_size(tmp_path):
    callback = ObjectDiscovery()
    trainer = run_test(tmp_path, [callback], object_discovery_loaders(5, (32, 64)))
    figures = {(row.method, row.image_size): row for row in callback.results}
    assert set(figures) == {(method, size) for method in ("base", "bilinear", "useless") for size in (32, 64)}
    for size in (32, 64):
        assert figures["base", size].value == 1
        assert figures["base", size].count == 5
        assert figures["useless", size].value == 0  # the whole image, which overlaps by 6 / 64
    assert float(trainer.callback_metrics["discovery/CorLoc/base@32"]) == 1
    rows = list(csv.DictReader((tmp_path / "results" / "discovery.csv").open()))
    assert {row["metric"] for row in rows} == {"CorLoc"}
    assert len(rows) == 6


def test_threshold_and_methods_are_options(tmp_path):
    callback = ObjectDiscovery(methods=["useless"], iou_threshold=0.05)
    run_test(tmp_path, [callback], object_discovery_loaders(3))
    assert [(row.method, row.value) for row in callback.results] == [("useless", 1.0)]


def test_unknown_choice():
    with pytest.raises(UserError, match="one of miss, skip"):
        ObjectDiscovery(without_boxes="ignore")


def one_rank(rank, root):
    # Unequal shares: rank 1 has too few images for a batch of CKA, and none at all of the other size.
    shares = {32: range(0, 5), 64: range(3)} if rank == 0 else {32: range(5, 7), 64: range(0)}
    loaders = {
        f"discovery@{size}": DataLoader(Subset(Objects(7, size), list(share)), batch_size=2, collate_fn=collate)
        for size, share in shares.items()
    }
    callbacks = [ObjectDiscovery(), ScaleInvariance(["base"], scales=[16, 32], batch_size=4), ResultTable()]
    trainer = quiet_trainer(root, callbacks, strategy="ddp", devices=2, use_distributed_sampler=False)
    module = TinyModule()
    module.allow_zero_length_dataloader_with_multiple_devices = True
    module.test_dataloader = lambda: loaders
    trainer.test(module, verbose=False)
    rows = [row for callback in callbacks[:2] for row in callback.results]
    torch.save([(r.metric, r.method, r.image_size, r.value, r.count) for r in rows], f"{root}/{rank}.pt")


@pytest.mark.slow
def test_two_processes_count_every_image_once(tmp_path):
    callback = ObjectDiscovery()
    run_test(tmp_path / "one", [callback], object_discovery_loaders(7, (32,)))
    two_processes(one_rank, str(tmp_path))
    first, second = ({row[:3]: row[3:] for row in torch.load(tmp_path / f"{rank}.pt")} for rank in range(2))
    assert first == second
    for row in callback.results:
        assert first["CorLoc", row.method, 32] == (row.value, 7)
    assert first["CorLoc", "base", 64] == (1.0, 3)
    assert first["CKA 16->32", "base", 32][1] == 4
    assert (tmp_path / "results" / "summary.md").exists()
