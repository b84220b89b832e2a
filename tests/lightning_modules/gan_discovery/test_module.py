import math
from contextlib import nullcontext
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from lightning_modules.gan_discovery import module as discovery
from lightning_modules.gan_discovery import rounds as stages
from lightning_modules.gan_discovery.labels import contiguous
from tests.lightning_modules.gan_discovery.worlds import fit, module, trainer, world
from visionscapes.errors import UserError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*val_dataloader"),
]
STAGES = ["attribution", "clustering", "merge", "refine"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    return folder, *fit(folder)


def same(ours, theirs):
    state = theirs.state_dict()
    return all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize(("epoch", "number"), [(0, 1), (4, 1), (5, 2), (7, 2), (8, 3), (10, 3), (11, 4)])
def test_epochs_belong_to_rounds(epoch, number, monkeypatch):
    found = module(rounds=4, epochs=5, epochs_later=3)
    monkeypatch.setattr(type(found), "current_epoch", epoch)
    assert found.round == number
    assert (found.last_epoch(number) == epoch) == (epoch in (4, 7, 10))


def test_every_round_tells_what_it_found(uninterrupted):
    _, found, told = uninterrupted
    assert [each.number for each in told.rounds] == [1, 2]
    for each in told.rounds:
        assert [stage.name for stage in each.stages] == STAGES
        assert each.known == 4
        assert each.features.shape == (72, 16)
        assert each.labelled_features.shape == (24, 16)
        assert each.logits.shape[0] == each.distances.shape[0] == 72
        for stage in each.stages:
            assert np.array_equal(stage.labels, contiguous(stage.labels, 4)), stage.name
    assert np.array_equal(found.labels, told.rounds[-1].labels)
    assert found.finished == 2


def test_the_second_round_trains_on_what_the_first_clustered(uninterrupted):
    _, found, told = uninterrupted
    first = told.rounds[0].labels
    assert (first >= 4).any(), "nothing was discovered, the test says nothing"
    assert told.rounds[1].logits.shape[1] == found.network.classes == first.max() + 1
    data = world()
    data.setup("fit")
    data.relabel(first)
    assert data.counts() == (24, (first >= 0).sum())


def test_the_second_round_begins_with_the_first_ones_features_and_a_fresh_classifier(tmp_path, monkeypatch):
    seen = {}
    begin = discovery.GANDiscovery.begin_round

    def spy(self, number):
        before = {name: value.clone() for name, value in self.network.state_dict().items()}
        assert any(len(state) for state in self.trainer.optimizers[0].state.values())
        begin(self, number)
        assert not self.trainer.optimizers[0].state
        seen[number] = before, {name: value.clone() for name, value in self.network.state_dict().items()}

    monkeypatch.setattr(discovery.GANDiscovery, "begin_round", spy)
    fit(tmp_path)
    assert list(seen) == [2]
    before, after = seen[2]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_one_seed_gives_one_result(uninterrupted, tmp_path):
    _, found, told = uninterrupted
    again, told_again = fit(tmp_path)
    assert same(again, found)
    assert np.array_equal(told_again.rounds[0].labels, told.rounds[0].labels)
    assert np.array_equal(again.labels, found.labels)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("stage", [*STAGES, "end"])
def test_interrupted_in_a_stage_and_resumed(uninterrupted, tmp_path, monkeypatch, stage, number):
    """The exception leaves a checkpoint; what was done of the round is not done again."""
    _, found, told = uninterrupted
    functions = {"attribution": "attribute", "clustering": "over_cluster", "merge": "merge", "refine": "refine"}
    calls = []

    def watch(name):
        true = getattr(stages, functions[name])

        def watched(*args, **kwargs):
            calls.append(name)
            return true(*args, **kwargs)

        return watched

    class Stopped(Exception):
        pass

    def stop(*args, **kwargs):
        raise Stopped

    with monkeypatch.context() as patch:
        count = iter(range(10))
        if stage == "end":
            name, target = "nearest", discovery.Attributor
        else:
            name, target = functions[stage], stages
        true = getattr(target, name)
        patch.setattr(target, name, lambda *a, **k: (true if next(count) + 1 < number else stop)(*a, **k))
        with pytest.raises(Stopped):
            fit(tmp_path)
    for name in STAGES:
        monkeypatch.setattr(stages, functions[name], watch(name))
    resumed, told_again = fit(tmp_path, ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    left = STAGES[STAGES.index(stage) :] if stage != "end" else []
    assert calls == left + STAGES * (2 - number)
    assert [each.number for each in told_again.rounds] == [1, 2][number - 1 :]
    assert np.array_equal(told_again.rounds[0].labels, told.rounds[number - 1].labels)
    assert np.array_equal(resumed.labels, found.labels)
    assert same(resumed, found)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_killed_and_resumed_from_the_checkpoint_of_any_epoch(uninterrupted, tmp_path, epoch):
    """Epoch 1 ends round 1: its checkpoint is of after the discovery."""
    _, found, _ = uninterrupted
    pl.seed_everything(0, verbose=False)
    with pytest.raises(Killed):
        trainer(tmp_path, KilledInEpoch(epoch + 1)).fit(module(), datamodule=world())
    resumed, _ = fit(tmp_path, ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    assert np.array_equal(resumed.labels, found.labels)
    assert same(resumed, found)


class Killed(Exception):
    pass


class KilledInEpoch(pl.Callback):
    """Ends a run without a word at the beginning of an epoch."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            trainer.callbacks = []  # a kill leaves nobody to save
            raise Killed


def test_rounds_count_steps(tmp_path):
    """24 labelled images are three batches an epoch; the second round has the clustered ones too."""
    options = {"epochs": None, "epochs_later": None, "steps": 7, "steps_later": 5}
    found, told = fit(tmp_path / "full", **options)
    assert len(told.rounds) == 2
    clustered = int((told.rounds[0].labels >= 0).sum())
    later = (24 + clustered) // 8
    assert found.epochs_of(1) == 3
    assert found.epochs_of(2) == math.ceil(5 / later)
    assert found.trainer.current_epoch == 3 + math.ceil(5 / later)
    assert found.trainer.global_step == 3 * 3 + later * math.ceil(5 / later)
    # Resumed from the middle of either round it is the same.
    for epoch in (1, 3):
        folder = tmp_path / str(epoch)
        pl.seed_everything(0, verbose=False)
        with pytest.raises(Killed):
            trainer(folder, KilledInEpoch(epoch)).fit(module(**options), datamodule=world())
        resumed, _ = fit(folder, ckpt_path=folder / "checkpoints" / "last.ckpt", **options)
        assert same(resumed, found)
        assert np.array_equal(resumed.labels, found.labels)


def test_few_steps_are_told(tmp_path, caplog):
    fit(tmp_path / "given", rounds=1)
    assert "trains for 6 steps, --model.epochs=2" in caplog.text
    caplog.clear()
    fit(tmp_path / "steps", rounds=1, epochs=None, steps=6)
    assert "trains for 6 steps: too few" in caplog.text
    assert "--model.epochs" not in caplog.text


def test_too_few_images_for_clusters_are_told_before_the_training(tmp_path, caplog):
    class Told(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            assert "72 to be discovered: 2 clusters of 40" in caplog.text

    pl.seed_everything(0, verbose=False)
    trainer(tmp_path, Told()).fit(module(rounds=1, epochs=1, tau=40), datamodule=world())


def test_images_of_another_size_than_was_trained_on_are_told_once(uninterrupted, tmp_path, caplog):
    folder, _, _ = uninterrupted
    kept = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["discovery"]["image_size"] == 16
    del kept["discovery"]["image_size"]
    torch.save(kept, tmp_path / "old.ckpt")
    trained = folder / "checkpoints" / "last.ckpt"
    for checkpoint, size, told in ((trained, 16, 0), (trained, 24, 1), (tmp_path / "old.ckpt", 24, 0)):
        caplog.clear()
        trainer(tmp_path).test(module(), datamodule=world(image_size=size), ckpt_path=checkpoint, verbose=False)
        assert caplog.text.count(f"images are {size} pixels wide and high, and the network was trained on 16") == told


@pytest.mark.parametrize("spoilt", ["layers", "classifier"])
def test_weights_that_are_no_numbers_attribute_nothing(uninterrupted, tmp_path, spoilt):
    folder, _, _ = uninterrupted
    kept = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    names = [name for name in kept["state_dict"] if name.startswith(f"network.{spoilt}") and name.endswith("weight")]
    assert names
    for name in names:
        kept["state_dict"][name][:] = math.nan
    torch.save(kept, tmp_path / "nan.ckpt")
    with pytest.raises(UserError, match="weights of this run or checkpoint, are infinite or not a number for 8 of 8"):
        trainer(tmp_path).test(module(), datamodule=world(), ckpt_path=tmp_path / "nan.ckpt", verbose=False)


def test_before_a_round_has_ended_other_discovery_images_are_gone_on_with(tmp_path, capsys):
    pl.seed_everything(0, verbose=False)
    with pytest.raises(Killed):
        trainer(tmp_path, KilledInEpoch(1)).fit(module(), datamodule=world())
    _, told = fit(tmp_path, ckpt_path=tmp_path / "checkpoints" / "last.ckpt", data=world(discovery_images=5))
    assert [len(each.labels) for each in told.rounds] == [60, 60]
    assert "the discovery images have changed" in capsys.readouterr().out


def test_other_discovery_images_are_not_gone_on_with(uninterrupted, tmp_path):
    folder, _, _ = uninterrupted
    with pytest.raises(UserError, match="not those that the checkpoint"):
        fit(tmp_path, ckpt_path=folder / "checkpoints" / "last.ckpt", data=world(discovery_images=5))


def test_images_that_arrive_later_begin_unclustered(tmp_path):
    data = world(setting="online", images=3, discovery_images=2)
    found, told = fit(tmp_path, data=data, rounds=3, epochs=1, epochs_later=1)
    sizes = [len(each.labels) for each in told.rounds]
    assert sizes == [34, 34, 40]
    assert len(found.labels) == 40


def test_reclustering_has_one_stage(tmp_path):
    _, told = fit(tmp_path, method="reclustering", epochs=1, epochs_later=1)
    for each in told.rounds:
        assert [stage.name for stage in each.stages] == ["clustering"]
        assert each.labels.min() == 4
        assert each.labels.max() == 4 + 8 - 1


def test_without_merging_and_with_repeats(tmp_path):
    _, told = fit(tmp_path, merging=False, repeats=1, epochs=1, rounds=1)
    names = [stage.name for stage in told.rounds[0].stages]
    assert names == ["attribution", "clustering", "refine", "refine 2"]


@pytest.mark.parametrize(
    "options",
    [
        {"balance": "classes"},
        {"inside": "cosine", "merge_distance": "cosine"},
        {"scale": "standard", "rule": "official", "merge_distance": "euclidean", "components": "weak"},
        {"k": [8, 4]},
    ],
)
def test_every_option_goes_through(tmp_path, options):
    found, told = fit(tmp_path, epochs=1, epochs_later=1, **options)
    assert len(told.rounds) == 2
    assert np.isfinite(found.network.classifier.weight.detach()).all()


def test_frozen_stages_stay_as_they_are(tmp_path):
    found, told = fit(tmp_path, freeze_from=2)
    before = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert found.network.backbone.conv1[0].weight.requires_grad is False
    assert found.network.backbone.layer4[0].conv1.weight.requires_grad
    assert before["discovery"]["finished"] == 2
    assert len(told.rounds) == 2


def test_more_clusters_than_the_classifier_has_room_for(tmp_path):
    with pytest.raises(UserError, match="than the 5 that the classifier"):
        fit(tmp_path, most_classes=5)


def test_predict_before_anything_is_known(tmp_path):
    with pytest.raises(UserError, match="finished no round"):
        trainer(tmp_path).predict(module(), dataloaders=[torch.zeros(1)])


def test_new_images_get_a_name(uninterrupted, tmp_path):
    folder, found, _ = uninterrupted
    rng = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(tmp_path / f"{number}.png")
    data = world(root=str(tmp_path))
    (batch,) = trainer(tmp_path).predict(module(), datamodule=data, ckpt_path=folder / "checkpoints" / "last.ckpt")
    assert len(batch["name"]) == 5
    for name, margin in zip(batch["name"], batch["margin"], strict=True):
        assert (name == "unknown") == (margin <= 0)
        assert name == "unknown" or name.startswith("cluster ") or name in found.attributor.names
    assert ((batch["probability"] > 0) & (batch["probability"] <= 1)).all()


def test_data_of_another_kind(tmp_path):
    with pytest.raises(UserError, match="SourceImages"):
        trainer(tmp_path).fit(module(), torch.utils.data.DataLoader(torch.zeros(4)))


@pytest.mark.parametrize(
    "options",
    [
        {"rounds": 0},
        {"lr": 0},
        {"percentile": 1.0},
        {"epsilon": 1.0},
        {"tau": 0},
        {"window": 1},
        {"k": [3]},
        {"k": 1},
        {"backbone": "resnet5"},
    ],
)
def test_values_that_make_no_sense(options):
    with pytest.raises(UserError):
        module(**options)


def test_every_process_takes_the_statistics_of_the_first(monkeypatch) -> None:
    """Each has seen other images, and networks that differ would put them into other clusters."""
    made, loader, overwritten = module(), MagicMock(), []
    monkeypatch.setattr(made, "sources", lambda: SimpleNamespace(train_dataloader=lambda: loader))
    monkeypatch.setattr(discovery, "update_bn", lambda batches, network: overwritten.clear())
    monkeypatch.setattr(discovery, "overwrite_by_first", overwritten.extend)
    made._trainer = SimpleNamespace(
        current_epoch=1, strategy=None, precision_plugin=SimpleNamespace(forward_context=nullcontext)
    )
    made.estimate_norms()
    loader.sampler.set_epoch.assert_called_once_with(1)
    buffers = list(made.network.buffers())
    assert len(buffers) == len(overwritten) > 0
    assert all(one is other for one, other in zip(buffers, overwritten, strict=True))


def test_too_many_clusters_are_told_before_images_are_drawn():
    data = world()
    module(k=data.discovery_count - 1).check_data(data)
    with pytest.raises(UserError, match=f"there are {data.discovery_count} discovery images"):
        module(k=data.discovery_count).check_data(data)
    data.setup("fit")
    assert data.discovery_count == len(data.discovery_names)
