"""Generator and discriminator in float16, whose gradients are multiples of the true ones until the networks step."""

from contextlib import nullcontext

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.plugins import MixedPrecision
from typing_extensions import override

from tests.lightning_modules.grit.cases import fit, grit, loader_of, pix2pixhd, spade, weights_of

MAKERS = [grit, spade, pix2pixhd]


class ScaledOnly(MixedPrecision):
    """The scaler of float16 beside a forward pass in float32, whose gradients the scale does not change."""

    @override
    def autocast_context_manager(self):
        return nullcontext()


class Watch(Callback):
    """Keeps the gradients of either network as they step, and the scale."""

    def __init__(self):
        self.gradients, self.scales = [], []

    @override
    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append([each.grad.clone() for each in optimizer.param_groups[0]["params"]])

    @override
    def on_train_batch_end(self, trainer, *_):
        self.scales.append(trainer.precision_plugin.scaler.get_scale())


class Overflow(Callback):
    """Makes a gradient of one of the networks infinite in one batch."""

    def __init__(self, network, batch):
        self.network, self.batch = network, batch

    @override
    def on_after_backward(self, trainer, pl_module):
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.batch:
            next(getattr(pl_module, self.network).parameters()).grad.view(-1)[0] = float("inf")


def scaler(**options):
    return torch.amp.GradScaler("cpu", **{"init_scale": 16.0, **options})


def float16(**options):
    return MixedPrecision("16-mixed", "cpu", scaler(**options))


@pytest.mark.parametrize("clip", [None, 1e-3], ids=["free", "clipped"])
@pytest.mark.parametrize("make", MAKERS)
def test_both_networks_get_the_true_gradients_while_the_scale_grows(make, clip):
    """An update between the two steps would divide the discriminator's by twice their scale."""
    watches, grows = [Watch(), Watch()], ScaledOnly("16-mixed", "cpu", scaler(growth_interval=1))
    watches[0].on_train_batch_end = lambda *_: None  # there is no scaler
    modules = []
    for watch, plugins in zip(watches, ([], [grows]), strict=True):
        modules.append(make(optimizer={"clip": clip}))
        torch.manual_seed(1)  # of their noise
        fit(modules[-1], loader_of(12), callbacks=[watch], plugins=plugins)
    assert watches[1].scales == [32.0, 64.0, 128.0]  # one update a batch
    for expected, found in zip(watches[0].gradients, watches[1].gradients, strict=True):
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    theirs, ours = map(weights_of, modules)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)


@pytest.mark.parametrize("make", MAKERS)
def test_float16_trains_much_like_float32(make):
    modules = [make(optimizer={"clip": 1.0, "decay_epochs": 0}) for _ in range(2)]
    fit(modules[0], loader_of(16))
    fit(modules[1], loader_of(16), plugins=[float16()])
    exact, rough = (module.trainer.callback_metrics for module in modules)
    assert {name: float(value) for name, value in rough.items()} == pytest.approx(
        {name: float(value) for name, value in exact.items()}, rel=0.1, abs=0.05
    )


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_network_whose_gradients_are_infinite_does_not_step(network):
    """The other one does, as torch has it of several optimisers, and the scale is halved once."""
    module, watch = grit(), Watch()
    begun = weights_of(module)
    fit(module, loader_of(4), callbacks=[Overflow(network, 0), watch], plugins=[float16()])
    assert watch.scales == [8.0]
    moved = {name.split(".")[0] for name, value in weights_of(module).items() if not torch.equal(value, begun[name])}
    assert moved == {"generator", "discriminator"} - {network}
    fit(module, loader_of(8), callbacks=[Overflow(network, 0)], plugins=[float16()])
    assert all(value.isfinite().all() for value in weights_of(module).values())
    assert any(
        not torch.equal(value, begun[name]) for name, value in weights_of(module).items() if name.startswith(network)
    )


def test_accumulated_batches_wait_for_their_scale():
    module, watch = grit(accumulate=2), Watch()
    fit(module, loader_of(8, 2), callbacks=[watch], plugins=[float16(growth_interval=1)])
    assert watch.scales == [16.0, 32.0, 32.0, 64.0]


def test_a_resumed_run_goes_on_with_its_scale(tmp_path):
    """Six batches with an overflow in the third, at once and in two parts."""

    def trained(epochs, **options):
        module = grit(noise=False, clip=0.1, ema=0.9, decay_epochs=0)
        plugin, overflow = float16(growth_interval=2), Overflow("discriminator", 2)
        fit(module, loader_of(8), max_epochs=epochs, plugins=[plugin], callbacks=[overflow], **options)
        return module, plugin.scaler.state_dict()

    whole, scale = trained(3)
    trained(2)[0].trainer.save_checkpoint(tmp_path / "begun.ckpt")
    resumed, found = trained(3, ckpt_path=tmp_path / "begun.ckpt")
    assert found == scale
    assert (scale["scale"], scale["_growth_tracker"]) == (32.0, 1)  # 16, grown, halved, grown
    expected = weights_of(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(resumed).items())
