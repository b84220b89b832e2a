import json

import pytest
import torch
from pytorch_lightning import Trainer

from benchmarks.lsr import CASES, QUICK, Subject, arrangements, for_every_frame, main, model, once, people, two_steps
from benchmarks.plain_lsr import Arrangement, BareLoop, encode_one_by_one
from lightning_modules.lsr.module import LSR

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning")


@pytest.fixture(autouse=True)
def _as_before():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data():
    return people(QUICK)


def loop_of(data, arrangement):
    return BareLoop(model(QUICK), data.train_dataloader(), arrangement)


@pytest.fixture(scope="module")
def first_losses(data):
    """Those of the module's first step."""
    module = model(QUICK)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_steps=2, limit_val_batches=0, accelerator="cpu", precision="32-true", **options)
    trainer.fit(module, datamodule=data)
    return {name.removeprefix("train/"): float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.parametrize("arrangement", arrangements(2).values(), ids=str)
def test_every_arrangement_computes_the_first_losses_of_the_module(data, first_losses, arrangement):
    found = loop_of(data, arrangement).step()
    close = 0.05 if arrangement.bfloat16 else 1e-4
    for name in ("discriminator", "l1", "latent"):
        assert found[name] == pytest.approx(first_losses[name], rel=close), name
    for name in ("r1", "r2"):  # the module of QUICK takes every second penalty, which weighs twice
        expected = first_losses[name] * arrangement.penalty_every / 2
        assert found[name] == pytest.approx(expected, rel=max(close, 1e-3)), name
    assert found.keys() < first_losses.keys()  # that logs its accuracy too


def test_penalties_come_when_they_are_due(data):
    loop = loop_of(data, Arrangement(penalty_every=3))
    assert ["r1" in loop.step() for _ in range(4)] == [True, False, False, True]


def test_shots_one_by_one_have_the_codes_of_all_together(data):
    network = model(QUICK).generator
    batch = next(iter(data.train_dataloader()))
    together = network.encode(batch["shots"], batch["shot_drawings"])
    one_by_one = encode_one_by_one(network, batch["shots"], batch["shot_drawings"])
    for ours, theirs in zip(one_by_one, together, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_plain_way_passes_through_everything_twice(data):
    loop, seen = loop_of(data, Arrangement()), []
    loop.module.generator.image.register_forward_hook(lambda *_: seen.append("image"))
    loop.module.generator.style.register_forward_hook(lambda *_: seen.append("shot"))
    loop.step()
    assert seen.count("image") == 2
    assert seen.count("shot") == 2 * next(iter(data.train_dataloader()))["shots"].shape[1]


def test_both_ways_make_the_same_frames():
    subject = Subject.of(QUICK)
    with torch.no_grad():
        torch.testing.assert_close(once(subject, 2)(0), for_every_frame(subject, 2)(0))


@pytest.mark.slow
def test_quick_run_writes_what_it_prints(tmp_path, capsys):
    names = [name for name in CASES if name != "memory"]
    report = main(["--quick", "--threads", "1", "--only", *names, "--output", str(tmp_path)])
    (written,) = tmp_path.glob("lsr-*.json")
    assert json.loads(capsys.readouterr().out) == json.loads(written.read_text()) == json.loads(json.dumps(report))
    step = report["step"]
    assert step["reached"] == (step["ratio"] <= step["reach"])
    assert step["rounds"] == 2
    assert step["difference"] < 0.05  # of bfloat16
    assert report["breakdown"]["plain"]["ratio"] == 1
    assert report["inference"]["difference"] < 1e-4
    for ways in (report["inference"]["float32"], report["inference"]["bfloat16"]):
        assert list(ways) == ["once", "for every frame"]
        assert all(list(counts) == ["1", "2"] and min(counts.values()) > 0 for counts in ways.values())


def test_memory_is_that_of_two_steps(monkeypatch):
    steps = {"plain": 0, "ours": 0}
    for name, owner in (("plain", BareLoop), ("ours", LSR)):
        true = owner.step

        def counted(self, true=true, name=name):
            steps[name] += 1
            return true(self)

        monkeypatch.setattr(owner, "step", counted)
    case = two_steps(QUICK)
    case.ours(0)
    case.plain(0)
    assert steps == {"plain": 2, "ours": 2}
