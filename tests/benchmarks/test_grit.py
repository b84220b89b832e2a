import json

import pytest
import torch
from pytorch_lightning import Trainer

from benchmarks.grit import CASES, QUICK, arrangements, faces, main, model, two_steps
from benchmarks.plain_grit import Arrangement, BareLoop
from lightning_modules.grit.module import GRIT

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


@pytest.fixture(autouse=True)
def _as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def loop_of(arrangement):
    return BareLoop(model(QUICK), faces(QUICK, 32, 2).train_dataloader(), arrangement)


def ours(precision="32-true"):
    """Return the losses of the module's first step."""
    module = model(QUICK)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_steps=2, limit_val_batches=0, accelerator="cpu", precision=precision, **options)
    trainer.fit(module, datamodule=faces(QUICK, 32, 2))
    return {name.removeprefix("train/"): float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.parametrize("arrangement", arrangements(QUICK, 2).values(), ids=str)
def test_every_arrangement_computes_the_first_losses_of_the_module(arrangement):
    expected, found = ours(), loop_of(arrangement).step()
    close = 0.05 if arrangement.bfloat16 else 1e-5
    for name in ("discriminator", "reconstruction", "style"):
        assert found[name] == pytest.approx(expected[name], rel=close), name
    # The module of QUICK takes every second penalty, which weighs twice.
    assert found["r1"] == pytest.approx(expected["r1"] * arrangement.penalty_every / 2, rel=max(close, 1e-4))
    assert found.keys() < expected.keys()  # that logs its accuracy too


def test_penalties_come_when_they_are_due():
    for every in (1, 3):
        loop = loop_of(Arrangement(penalty_every=every))
        assert ["r1" in loop.step() for _ in range(6)] == [number % every == 0 for number in range(6)]


def test_a_second_forward_is_all_that_differs():
    """Without noise both arrangements train alike, in twice as many passes."""
    passes, trained = {}, {}
    for forwards in (1, 2):
        loop = BareLoop(
            model(QUICK, generator={"noise": False}), faces(QUICK, 32, 2).train_dataloader(), Arrangement(forwards)
        )
        seen = passes[forwards] = []
        loop.generator.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        for _ in range(3):
            loop.step()
        trained[forwards] = loop.generator.state_dict()
    assert (len(passes[1]), len(passes[2])) == (3, 6)
    for name, value in trained[1].items():
        assert value.equal(trained[2][name]), name


def test_quick_run_writes_what_it_prints(tmp_path, capsys):
    names = [name for name in CASES if name != "memory"]
    report = main(["--quick", "--threads", "1", "--only", *names, "--output", str(tmp_path)])
    (written,) = tmp_path.glob("grit-*.json")
    assert json.loads(capsys.readouterr().out) == json.loads(written.read_text()) == json.loads(json.dumps(report))
    step = report["step"]
    assert step["reached"] == (step["ratio"] <= step["reach"])
    assert step["rounds"] == 2
    assert step["difference"] < 0.05  # of bfloat16
    assert report["breakdown"]["plain"]["ratio"] == 1
    assert {"one forward", "lazy penalty", "bfloat16", "all three"} < report["breakdown"].keys()
    for counts in report["inference"].values():
        assert list(counts) == ["1", "2"]
        assert min(counts.values()) > 0
    assert list(report["resolution"]["seconds"]) == ["32", "64"]
    assert report["resolution"]["skipped"] == [128]


def test_growth_needs_two_resolutions(capsys):
    with pytest.raises(SystemExit):
        main(["--quick", "--only", "resolution", "--largest", "32"])
    assert "at least 64" in capsys.readouterr().err


def test_memory_is_that_of_two_steps(monkeypatch):
    steps = {"plain": 0, "ours": 0}
    for name, owner in (("plain", BareLoop), ("ours", GRIT)):
        true = owner.step

        def counted(self, true=true, name=name):
            steps[name] += 1
            return true(self)

        monkeypatch.setattr(owner, "step", counted)
    case = two_steps(QUICK)
    case.ours(0)
    case.plain(0)
    assert steps == {"plain": 2, "ours": 2}


@pytest.mark.slow
def test_memory_is_measured_in_processes_of_their_own(capsys):
    report = main(["--quick", "--threads", "1", "--only", "memory"])
    assert report["memory"].keys() == {"ours_mib", "plain_mib", "ratio"}
    assert json.loads(capsys.readouterr().out)["memory"] == report["memory"]
