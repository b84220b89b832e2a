import pytest
import torch
from torch.nn import functional as F

from lightning_modules.grit.baselines.pix2pixhd import Pix2PixHD
from lightning_modules.grit.baselines.spade import SPADE
from lightning_modules.grit.module import GRIT
from networks.gan.discriminators import ResidualDiscriminator, StyleGANDiscriminator
from tests.lightning_modules.grit.cases import (
    SIZE,
    batch_of,
    fit,
    grit,
    loader_of,
    pix2pixhd,
    spade,
    weights_of,
)
from visionscapes.errors import UserError


def losses_of(module, batch):
    condition, truth = module.condition(batch), module.to_network(batch["image"])
    translated = module.translate(batch, condition, truth)
    return module.generator_losses(condition, truth, translated), translated, condition, truth


def test_equation_5_2():
    module = grit(lambda_rec=7.0, lambda_z=2.0)
    losses, translated, condition, truth = losses_of(module, batch_of())
    image, parts = translated.generated
    judged = module.discriminator(torch.cat([condition, image], 1))
    assert losses["adversarial"] == F.softplus(-judged).mean()
    assert losses["reconstruction"] == 7 * (parts["reconstruction"] - truth).abs().mean()
    assert losses["style"] == 2 * translated.code.square().mean()
    assert list(losses) == ["adversarial", "reconstruction", "style"]


def test_the_reconstruction_loss_leaves_the_residual_alone():
    module = grit()
    losses, *_ = losses_of(module, batch_of())
    losses["reconstruction"].backward()
    assert module.generator.head.weight.grad[3:].abs().max() == 0
    assert module.generator.head.weight.grad[:3].abs().max() > 0


def test_without_a_residual_both_losses_see_the_same_image():
    """The first two rows of table 5.4."""
    module = grit(residual=False, noise=False)
    losses, translated, _, truth = losses_of(module, batch_of())
    assert losses["reconstruction"] == 30 * (translated.generated.image - truth).abs().mean()


def test_the_rows_of_table_5_4_are_one_class():
    rows = [grit(noise=False, residual=False), grit(residual=False), grit()]
    noisy = [any("noise" in name for name, _ in each.generator.named_parameters()) for each in rows]
    assert noisy == [False, True, True]
    assert [each.generator.head.out_channels for each in rows] == [3, 3, 6]


def test_the_perceptual_loss_of_table_5_5(tmp_path):
    from safetensors.torch import save_file

    from networks.perceptual import vgg19_features

    file = tmp_path / "vgg19.safetensors"
    save_file(vgg19_features(None).state_dict(), file)
    module = grit(reconstruction="vgg", vgg_weights=str(file))
    losses, translated, _, truth = losses_of(module, batch_of(1))
    parts = translated.generated.parts
    assert losses["reconstruction"] == 30 * module._perceptual(parts["reconstruction"], truth)
    assert not any("features." in name for name in module.state_dict())
    losses["reconstruction"].backward()
    assert module.generator.head.weight.grad[3:].abs().max() == 0
    with pytest.raises(UserError, match="no weights at"):
        grit(reconstruction="vgg", vgg_weights=str(tmp_path / "none.pth"))


def test_discriminators():
    assert isinstance(grit().discriminator, StyleGANDiscriminator)
    assert isinstance(grit(discriminator="residual", stddev_group=None).discriminator, ResidualDiscriminator)
    fit(grit(discriminator="residual", stddev_group=None))
    fit(grit(stddev_group=None))


def test_defaults_are_those_of_the_thesis():
    import inspect

    defaults = {name: each.default for name, each in inspect.signature(GRIT).parameters.items()}
    said = {"classes": 19, "lambda_rec": 30.0}
    assert {name: defaults[name] for name in said} == said
    generator, optimizer = defaults["generator"], defaults["optimizer"]
    assert (generator.style_dim, generator.base, generator.most, generator.downs) == (512, 64, 512, 6)
    assert (generator.noise, generator.residual, generator.composition) == (True, True, "sum")
    assert (optimizer.lr, optimizer.beta1, optimizer.beta2) == (1e-3, 0.0, 0.999)
    assert (optimizer.decay_epochs, optimizer.decay_floor) == (1.0, 0.1)


@pytest.mark.parametrize("make", [pix2pixhd, spade])
def test_baselines_train_and_generate(make):
    module = make(ema=0.9)
    before = weights_of(module)
    trainer = fit(module, loader_of(8, 4), max_epochs=2, precision="bf16-mixed")
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())
    after = weights_of(module)
    for part in ("generator.", "discriminator."):
        moved = [name for name in before if name.startswith(part) and not torch.equal(before[name], after[name])]
        assert moved
    module.eval()
    made = module.generate(batch_of(2))
    assert made.image.shape == (2, 3, SIZE, SIZE)
    assert made.image.abs().max() <= 1
    assert made.parts == {}


@pytest.mark.parametrize("make", [pix2pixhd, spade])
def test_baselines_on_edges(make):
    module = make(classes=None, condition_channels=1).eval()
    made = module.generate({"condition": torch.rand(2, 1, SIZE, SIZE), "image": torch.rand(2, 3, SIZE, SIZE)})
    assert made.image.shape == (2, 3, SIZE, SIZE)


def test_the_losses_of_the_baselines():
    for module, names in (
        (pix2pixhd(), {"adversarial", "features"}),
        (spade(), {"adversarial", "features", "divergence"}),
    ):
        losses, translated, condition, _ = losses_of(module, batch_of())
        assert losses.keys() == names
        scales = [scale[-1] for scale in module.scores(condition, translated.generated.image)]
        if isinstance(module, Pix2PixHD):
            expected = sum(((scale - 1) ** 2).mean() for scale in scales)
        else:
            assert isinstance(module, SPADE)
            expected = sum(-scale.mean() for scale in scales) / len(scales)
        assert torch.allclose(losses["adversarial"], expected, rtol=1e-4)


def test_rates_of_spade():
    """TTUR of Park et al. 2019."""
    trainer = fit(spade(), loader_of(4))
    assert [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers] == [1e-4, 4e-4]


def test_spade_draws_its_styles():
    module = spade().eval()
    batch = batch_of(2)
    with torch.no_grad():
        one, two = (module.generate(batch, torch.Generator().manual_seed(seed)).image for seed in (1, 2))
        again = module.generate(batch, torch.Generator().manual_seed(1)).image
    assert torch.equal(one, again)
    assert not torch.equal(one, two)


def test_compiling_is_the_generators_alone(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, *args, **kwargs: compiled.append(self))
    module = grit(compile=True)
    assert compiled == [module.generator]


def test_small_is_small():
    assert sum(each.numel() for each in grit().parameters()) < 20_000
