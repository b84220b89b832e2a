import pytest
import torch
from torch.nn import functional as F

from lightning_modules.lsr.module import LSR
from tests.lightning_modules.lsr.cases import (
    CLASSES,
    SIZE,
    batch_of,
    fit,
    gradients_of,
    loader_of,
    lsr,
    quiet,
    subject_of,
    weights_of,
)
from visionscapes.errors import UserError

SPATIAL = ("layout", "segmentation", "oracle", "landmarks", "none")


def losses_of(module, batch):
    """Return the losses that a step hands to the optimiser, and what the generator made."""
    seen, heads = {}, []
    quiet(module).learn = lambda losses, batch_idx, batch_size: seen.update(losses)
    module._batches = lambda: 0
    render = module.generator.render
    module.generator.render = lambda *args: heads.append(render(*args)) or heads[-1]
    module.call_experts()
    module.training_step(batch, 0)
    (head,) = heads
    return seen, head


def test_equation_6_4_from_its_parts():
    weights = {"lambda_gan": 2.0, "lambda_vgg": 0.3, "lambda_l1": 4.0, "lambda_z": 0.7, "latent_penalty": "norm"}
    module, batch = lsr(losses=weights), batch_of()
    losses, head = losses_of(module, batch)
    truth, drawing = 2 * batch["image"] - 1, 2 * batch["drawing"] - 1
    judged = module.discriminator(torch.cat([head.image, drawing], 1))
    assert torch.allclose(losses["adversarial"], 2 * F.softplus(-judged).mean())
    assert torch.allclose(losses["l1"], 4 * (head.image - truth).abs().mean())
    assert torch.allclose(losses["vgg"], 0.3 * module.perceptual(head.image, truth))
    codes = module.generator.encode(batch["shots"], batch["shot_drawings"])
    norms = (codes.layout**2).sum(1).mean() + (codes.style**2).sum(1).mean()
    assert torch.allclose(losses["latent"], 0.7 * norms)
    assert losses.keys() == {"discriminator", "r1", "r2", "adversarial", "l1", "vgg", "latent"}


@pytest.mark.parametrize("penalty_of", ["logits", "loss"])
def test_the_gradient_penalties_by_hand(penalty_of):
    """R1 and R2, each of the logits or of the softplus that the discriminator minimises, by the image alone."""
    module, batch = lsr(adversarial={"r1": 10.0, "r2": 4.0, "penalty_of": penalty_of}), batch_of()
    losses, head = losses_of(module, batch)
    drawing = 2 * batch["drawing"] - 1
    for name, gamma, image, sign in (("r1", 10, 2 * batch["image"] - 1, -1), ("r2", 4, head.image, 1)):
        total = 0
        for each, beside in zip(image.detach(), drawing, strict=True):
            each = each.clone().requires_grad_()
            logit = module.discriminator(torch.cat([each, beside])[None])
            judged = logit if penalty_of == "logits" else F.softplus(sign * logit)
            (slope,) = torch.autograd.grad(judged.sum(), each)
            total += slope.square().sum()
        assert torch.allclose(losses[name], gamma / 2 * total / len(image), rtol=1e-4), name
        assert losses[name] > 0
    found = gradients_of(losses["r2"], module)
    assert found
    assert all(name.startswith("discriminator.") for name in found), "the generator is not penalised"


def test_neither_network_learns_from_the_loss_of_the_other():
    module = lsr()
    losses, _ = losses_of(module, batch_of())
    of_d = {"discriminator", "r1", "r2"}
    for name, loss in losses.items():
        part = "discriminator." if name in of_d else "generator."
        assert all(each.startswith(part) for each in gradients_of(loss, module)), name


def test_a_segmentation_is_taught_by_equation_6_2_alone():
    module, batch = lsr(spatial="segmentation", losses={"lambda_seg": 3.0}), batch_of()
    losses, head = losses_of(module, batch)
    assert torch.allclose(losses["segmentation"], 3 * F.cross_entropy(head.predicted.logits, batch["labels"].long()))
    for name in ("l1", "vgg", "adversarial"):
        assert not any("generator.layout." in each for each in gradients_of(losses[name], module)), name
    for name in ("segmentation", "rgb", "latent"):
        assert any("generator.layout." in each for each in gradients_of(losses[name], module)), name


def test_the_latent_layout_is_not():
    losses, _ = losses_of(lsr(), batch_of())
    assert not {"segmentation", "rgb"} & losses.keys()
    module = lsr()
    batch = {name: value for name, value in batch_of().items() if name != "labels"}
    losses_of(module, batch)
    for spatial in ("segmentation", "oracle"):
        with pytest.raises(UserError, match="label maps"):
            losses_of(lsr(spatial=spatial), batch)


@pytest.mark.parametrize("spatial", SPATIAL)
def test_every_row_of_table_6_2_trains_and_reenacts(spatial):
    module = lsr(spatial=spatial, optimizer={"ema": 0.5}, evaluation={"shots": (1, 3)})
    before = weights_of(module)
    trainer = fit(module, loader_of(4), precision="bf16-mixed", max_epochs=2)
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())
    after = weights_of(module)
    still = {name for name in before if torch.equal(before[name], after[name])}
    # The image beside the layout has no loss in the full pipeline, and is part of one convolution with the logits.
    assert not {name for name in still if not name.endswith("n_averaged")}
    found = module.test_step(subject_of(), 0)
    assert {name: made.shots for name, made in found.items()} == {"K = 1": 1, "K = 3": 3}
    for made in found.values():
        assert made.images.shape == (3, 3, SIZE, SIZE)
        assert made.images.dtype == torch.float32
        if spatial in ("landmarks", "none"):
            assert made.layout is None
        else:
            assert made.layout.shape == (3, CLASSES, SIZE, SIZE)
            assert torch.allclose(made.layout.sum(1), torch.ones(3, SIZE, SIZE), atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_a_trainer_that_has_all_in_one_type_of_numbers(precision):
    module = lsr(evaluation={"shots": (2,), "finetune": True}, finetune={"steps": 1, "lr": 1e-4, "check_every": 1})
    trainer = fit(module, loader_of(2), precision=precision)
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())
    with trainer.precision_plugin.forward_context():
        found = module.test_step(subject_of(), 0)
        tuned = module.meet_tuned(*torch.rand(2, 2, 3, SIZE, SIZE, dtype=torch.float32)).network
    assert all(torch.isfinite(each.images).all() for each in found.values())
    assert {each.dtype for each in tuned.parameters()} == {torch.float64 if precision == "64-true" else torch.float32}


def test_without_a_discriminator():
    module = lsr(losses={"lambda_gan": 0.0})
    assert module.discriminator is None
    trainer = fit(module, loader_of(2))
    assert trainer.global_step == 1
    assert "train/adversarial" not in trainer.callback_metrics


def test_the_moving_average_reenacts():
    module = lsr(optimizer={"ema": 0.9})
    fit(module, loader_of(4), max_epochs=2)
    shots, drawings, drawing = torch.rand(3, 2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    ours = module.reenact(shots, drawings, drawing)
    module.generator.load_state_dict(module.average.module.state_dict())
    assert torch.equal(ours.images, lsr_like(module).reenact(shots, drawings, drawing).images)
    assert module.backbone_state().keys() == {
        name for name in module.state_dict() if name.startswith(("generator.", "discriminator."))
    }


def lsr_like(module):
    """Return a module without a moving average that has the generator of another one."""
    other = lsr()
    other.generator.load_state_dict(module.generator.state_dict())
    return other


def test_defaults_are_those_of_the_official_code():
    defaults = {type(each).__name__: each for each in LSR.__init__.__defaults__}
    game, discriminator = defaults["AdversarialOptions"], defaults["DiscriminatorOptions"]
    assert (game.gan_loss, game.r1, game.r2, game.penalty_every, game.penalty_of) == ("logistic", 10, 10, 1, "logits")
    assert (discriminator.architecture, discriminator.stddev_group) == ("residual", None)


def test_the_discriminator_of_the_released_size():
    """A 1x1 convolution to 32, blocks of 64 to 512 at 112 to 4 pixels, and the head on 4 x 4 x 512."""
    with torch.device("meta"):
        network = LSR(losses={"lambda_vgg": 0.0}).discriminator
        assert network(torch.empty(2, 6, 224, 224)).shape == (2,)

    def conv(inner, outer, kernel=3, bias=True):
        return inner * outer * kernel**2 + outer * bias

    expected = conv(6, 32, 1) + conv(512, 512) + (4 * 4 * 512 + 1) * 512 + 513
    for inner, outer in zip([32, 64, 128, 256, 512, 512], [64, 128, 256, 512, 512, 512], strict=True):
        expected += conv(inner, inner) + conv(inner, outer) + conv(inner, outer, 1, bias=False)
    assert sum(each.numel() for each in network.parameters()) == expected
