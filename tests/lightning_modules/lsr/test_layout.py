import pytest
import torch
from torch.nn import functional as F

from lightning_modules.lsr.layout import LSRLayout
from lightning_modules.lsr.network import PredictedLayout
from tests.lightning_modules.lsr.cases import (
    CLASSES,
    SIZE,
    batch_of,
    fit,
    loader_of,
    lsr_layout,
    quiet,
    subject_of,
    weights_of,
)
from visionscapes.errors import UserError


def losses_of(module, batch):
    """Return the losses that a step hands to the optimiser."""
    seen = {}
    quiet(module).learn = lambda losses, batch_idx, batch_size: seen.update(losses)
    module.call_experts()
    module.training_step(batch, 0)
    return seen


def test_equation_6_2_from_its_parts():
    module, batch = lsr_layout(losses={"lambda_seg": 1.0, "lambda_rgb": 0.2, "lambda_z": 0.5}), batch_of()
    losses = losses_of(module, batch)
    code = module.generator.encode(batch["shots"], batch["shot_drawings"])
    logits, rgb = module.generator(batch["drawing"], code)
    of_the_label = logits.log_softmax(1).gather(1, batch["labels"].long()[:, None])
    assert torch.allclose(losses["segmentation"], -of_the_label.mean(), atol=1e-6)
    assert torch.allclose(losses["rgb"], 0.2 * module.perceptual(rgb, 2 * batch["image"] - 1))
    assert torch.allclose(losses["latent"], 0.5 * (code**2).mean())
    assert losses.keys() == {"segmentation", "rgb", "latent"}
    summed = lsr_layout(losses={"lambda_z": 0.5, "latent_penalty": "norm"})
    assert torch.allclose(losses_of(summed, batch)["latent"], 0.5 * (code**2).sum(1).mean())


def test_both_signals_teach_the_encoder():
    module, batch = lsr_layout(), batch_of()
    losses = losses_of(module, batch)
    for name in ("segmentation", "rgb", "latent"):
        (gradient,) = torch.autograd.grad(losses[name], module.generator.encoder.first.weight, retain_graph=True)
        assert gradient.abs().max() > 0, name


def test_training_makes_the_segmentation_better():
    module = lsr_layout(losses={"lambda_rgb": 0.0}, optimizer={"lr": 0.01})
    assert module.perceptual is None
    loader = loader_of(4, 4)
    batch = next(iter(loader))

    def error():
        code = module.generator.encode(batch["shots"], batch["shot_drawings"])
        return float(F.cross_entropy(module.generator(batch["drawing"], code).logits, batch["labels"].long()))

    before = error()
    trainer = fit(module, loader, max_epochs=15)
    assert trainer.global_step == 15
    assert error() < before - 0.1


def test_data_without_label_maps():
    batch = {name: value for name, value in batch_of().items() if name != "labels"}
    with pytest.raises(UserError, match="label maps of a face parser"):
        losses_of(lsr_layout(), batch)


def test_a_subject_is_reenacted_by_the_image_beside_the_layout():
    module, batch = lsr_layout(evaluation={"shots": (1, 4)}).eval(), subject_of()
    found = module.test_step(batch, 0)
    assert found.keys() == {"K = 1", "K = 4"}
    shots, drawings, drawing = (batch[name][0].float() / 255 for name in ("shots", "shot_drawings", "drawing"))
    code = module.generator.encode(shots[None, [0, 1, 3, 4]], drawings[None, [0, 1, 3, 4]])
    predicted = module.generator(drawing, code.expand(3, -1))
    assert isinstance(predicted, PredictedLayout)
    assert torch.allclose(found["K = 4"].images, ((predicted.rgb + 1) / 2).clamp(0, 1), atol=1e-6)
    assert torch.allclose(found["K = 4"].layout, predicted.logits.softmax(1), atol=1e-6)
    assert found["K = 4"].layout.shape == (3, CLASSES, SIZE, SIZE)


def test_a_moving_average():
    module = lsr_layout(optimizer={"ema": 0.5})
    fit(module, loader_of(4))
    kept = {name: value for name, value in weights_of(module).items() if name.startswith("average.module.")}
    assert kept.keys() == {f"average.module.{name}" for name in module.generator.state_dict()}
    assert not all(
        torch.equal(module.state_dict()[name.replace("average.module", "generator")], kept[name]) for name in kept
    )
    assert module.backbone_state().keys() == module.generator.state_dict().keys()
    assert all(torch.equal(value, kept[f"average.module.{name}"]) for name, value in module.backbone_state().items())


def test_defaults_are_those_of_the_official_code():
    module = LSRLayout.__init__.__defaults__
    optimizer = next(each for each in module if type(each).__name__ == "OptimizerOptions")
    assert (optimizer.lr, optimizer.beta1, optimizer.beta2, optimizer.warmup) == (1e-3, 0.0, 0.999, 500)
    assert (optimizer.decay, optimizer.decay_floor, optimizer.clip, optimizer.ema) == ("hyperbolic", 0.01, 1.0, None)
