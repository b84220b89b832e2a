from types import SimpleNamespace

import pytest

from callbacks.dense.object_discovery import ObjectDiscovery
from callbacks.vit_analysis import analysis_report as module
from callbacks.vit_analysis.analysis_report import AnalysisReport
from visionscapes.errors import UserError


class Data:
    """Says what its test loaders would be, and remembers what it was told to leave in."""

    def __init__(self):
        self.told = []

    def only(self, tasks):
        self.told.append(tasks)

    def test_dataloader(self):
        return {"retrieval@32": range(9), "discovery@32": range(2), "discovery@64": range(3)}


class Protocol(ObjectDiscovery):
    """Needs the tasks that it is given, as one does whose figures are not kept yet."""

    def __init__(self, *tasks):
        super().__init__()
        self.tasks = set(tasks)

    def needed_tasks(self, trainer, pl_module):
        return self.tasks


@pytest.mark.parametrize(
    ("protocols", "left"),
    [
        ([Protocol("retrieval"), Protocol("discovery", "retrieval")], {"retrieval", "discovery"}),
        ([Protocol(), Protocol("retrieval")], {"retrieval"}),
        ([Protocol(), Protocol()], {"discovery"}),  # nothing is needed, and the shortest loader remains
    ],
)
def test_data_that_nobody_needs_are_left_out(protocols, left):
    data = Data()
    AnalysisReport().setup(SimpleNamespace(datamodule=data, callbacks=[AnalysisReport(), *protocols]), None, "test")
    assert data.told == [None, left]


def test_other_stages_and_other_data_are_left_alone():
    data = Data()
    trainer = SimpleNamespace(datamodule=data, callbacks=[Protocol("retrieval")])
    AnalysisReport().setup(trainer, None, "validate")
    trainer.datamodule = object()
    AnalysisReport().setup(trainer, None, "test")
    assert data.told == []


@pytest.mark.parametrize(("first", "present"), [(True, 1), (False, 2)])
def test_nothing_is_drawn_before_the_last_pass_or_by_other_processes(tmp_path, monkeypatch, first, present):
    monkeypatch.setattr(module, "layered_of", lambda _: dict.fromkeys(range(present)))
    trainer = SimpleNamespace(is_global_zero=first, default_root_dir=str(tmp_path))
    AnalysisReport().on_test_end(trainer, SimpleNamespace(described=lambda: [{}, {}]))
    assert list(tmp_path.iterdir()) == []


def test_data_with_nothing_to_test_on():
    data = SimpleNamespace(only=lambda _: None, test_dataloader=dict)
    with pytest.raises(UserError, match="nothing to test on: choose tasks"):
        AnalysisReport().setup(SimpleNamespace(datamodule=data, callbacks=[]), None, "test")
