import pytest
import pytorch_lightning as pl
import torch

from lightning_modules.gan_discovery.module import GANDiscovery
from lightning_modules.grit.baselines.pix2pixhd import Pix2PixHD
from lightning_modules.grit.module import GRIT
from tests.lightning_modules.gan_discovery import worlds
from tests.lightning_modules.grit.cases import grit, weights_of
from visionscapes.renamed_options import with_old_names

FEW = {"discriminator": {"base": 2}, "matching": {"lambda_vgg": 0.0}}


def saved(module, path):
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return path


def test_checkpoints_hold_plain_values_only(tmp_path):
    path = saved(grit(ema=0.5), tmp_path / "grit.ckpt")
    options = torch.load(path, weights_only=True)["hyper_parameters"]
    assert options["optimizer"]["ema"] == 0.5
    assert type(options["generator"]) is dict


def test_a_module_comes_back_with_its_groups(tmp_path):
    module = grit(ema=0.5, lr=0.25, discriminator="residual", r1=3.0, noise=False)
    found = GRIT.load_from_checkpoint(saved(module, tmp_path / "grit.ckpt"))
    assert (found.adversarial, found.optimizer, found.hparams) == (module.adversarial, module.optimizer, module.hparams)
    state = weights_of(found)
    assert all(torch.equal(value, state[name]) for name, value in weights_of(module).items())


@pytest.mark.parametrize(
    "make", [lambda: grit(lr=0.25, discriminator="residual", base=3), lambda: worlds.module(tau=7)]
)
def test_checkpoints_from_before_the_groups_are_read(make, tmp_path):
    module = make()
    path = saved(module, tmp_path / "old.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    old = with_old_names(type(module).__name__, checkpoint["hyper_parameters"])
    for group, later in {"adversarial": {"penalty_of"}, "optimizer": {"decay", "decay_floor"}}.items():
        assert old.pop(group, {}).keys() <= later  # options that there was no old name for
    checkpoint["hyper_parameters"] = old
    assert not {"generator", "adversarial", "stages", "network"} & old.keys()
    torch.save(checkpoint, path)
    found = type(module).load_from_checkpoint(path)
    assert found.hparams == module.hparams
    state = weights_of(found)
    assert all(torch.equal(value, state[name]) for name, value in weights_of(module).items())


def test_options_given_here_win_over_those_of_the_checkpoint(tmp_path):
    path = saved(worlds.module(tau=7), tmp_path / "discovery.ckpt")
    assert GANDiscovery.load_from_checkpoint(path).stages.tau == 7
    assert GANDiscovery.load_from_checkpoint(path, stages={"tau": 9}).stages.tau == 9


def test_old_names_given_here_win_too_and_the_rest_of_a_group_is_as_in_the_checkpoint(tmp_path):
    path = saved(grit(ema=0.5, lr=0.25, penalty_every=3), tmp_path / "grit.ckpt")
    for given in ({"lr": 0.125}, {"optimizer": {"lr": 0.125}}):
        found = GRIT.load_from_checkpoint(path, **given)
        assert (found.optimizer.lr, found.optimizer.ema, found.adversarial.penalty_every) == (0.125, 0.5, 3)


def test_what_an_old_checkpoint_could_not_say_is_as_in_its_method(tmp_path):
    """The rate of Pix2PixHD falls to 0, that of GRIT to a tenth; neither was an option."""
    path = saved(Pix2PixHD(image_size=16, generator={"base": 2, "downs": 1, "blocks": 1}, **FEW), tmp_path / "old.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    old = with_old_names("Pix2PixHD", checkpoint["hyper_parameters"])
    for group in ("optimizer", "adversarial"):
        old.pop(group)
    checkpoint["hyper_parameters"] = old
    torch.save(checkpoint, path)
    found = Pix2PixHD.load_from_checkpoint(path)
    assert (found.optimizer.decay_floor, found.optimizer.decay_epochs, found.optimizer.beta1) == (0.0, 100.0, 0.5)
    assert found.adversarial.gan_loss == "least_squares"
