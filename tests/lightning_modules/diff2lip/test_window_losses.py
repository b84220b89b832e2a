"""What is learned from windows, with Diff2Lip for an example."""

import pytest
import torch

from lightning_modules.diff2lip.window_losses import SEQUENCE_LOSSES
from tests.lightning_modules.diff2lip.cases import NO_EXPERTS, batch_of, diff2lip, fit, weights_of
from visionscapes.errors import UserError


def test_the_reference_is_the_next_window_of_the_clip():
    windows = diff2lip(**NO_EXPERTS).windows_of(batch_of(clips=2, windows=3))
    assert len(windows.truth) == 6
    truth = windows.truth.unflatten(0, (2, 3))
    for window in range(3):
        assert torch.equal(windows.reference.unflatten(0, (2, 3))[:, window], truth[:, (window + 1) % 3])


def test_batches_that_cannot_be_learned_from_are_told():
    module, batch = diff2lip(**NO_EXPERTS), batch_of()
    with pytest.raises(UserError, match="windows 2 or more"):
        module.windows_of(batch_of(windows=1))
    del batch["frame_mel"]
    with pytest.raises(UserError, match="DubbingWorld"):
        module.windows_of(batch)


def test_single_frames_at_the_start_and_losses_on_sequences_behind_them(monkeypatch):
    module, taken = diff2lip(losses={"gan_start": 5}, single_frames=3), 0
    monkeypatch.setattr(type(module), "steps_taken", lambda self: taken)
    batch = batch_of(clips=3, windows=3)
    assert module.windows_of(batch).truth.shape[:2] == (9, 1)
    assert [module.weight_of(name) for name in ("l2", "sync", "perceptual", "gan")] == [1.0, 0.0, 0.25, 0.0]
    taken = 3
    assert module.windows_of(batch).truth.shape[:2] == (2, 5)
    assert [module.weight_of(name) for name in SEQUENCE_LOSSES] == [0.1, 0.0]
    taken = 5
    assert module.weight_of("gan") == 0.5


def test_a_discriminator_that_has_not_begun_stays_as_it_is():
    module = diff2lip(losses={"gan_start": 2, "lambda_sync": 0.0, "lambda_perceptual": 0.0})
    begun = weights_of(module.discriminator)
    fit(module, steps=2)
    assert all(torch.equal(value, begun[name]) for name, value in weights_of(module.discriminator).items())
    assert all(each.grad is None for each in module.discriminator.parameters())
    later = diff2lip(losses={"gan_start": 2, "lambda_sync": 0.0, "lambda_perceptual": 0.0})
    trainer = fit(later, steps=3)
    assert not torch.equal(later.discriminator.scales[0].blocks[0][0].weight, begun["scales.0.blocks.0.0.weight"])
    counts = {int(state["step"]) for state in trainer.optimizers[1].state.values()}
    assert counts == {1}, "its averages begin with it"


def test_every_parameter_takes_part_in_every_step():
    """As several processes need it."""
    for step in (0, 5):
        module = diff2lip(losses={"gan_start": 3, "sync_start": 3, "perceptual_start": 3, "l2_start": 3})
        module.log = lambda *_, **__: None
        module.steps_taken = lambda step=step: step
        module._batches = lambda step=step: step
        windows = module.windows_of(batch_of())
        denoised = module.denoise(windows)
        losses = module.discriminator_losses(windows, denoised.frames)
        losses |= module.generator_losses(windows, denoised)
        names = {"discriminator", "simple"} | ({"l2", "sync", "perceptual", "gan"} if step else set())
        assert losses.keys() == names
        torch.stack(list(losses.values())).sum().backward()
        unused = [name for name, each in module.named_parameters() if each.requires_grad and each.grad is None]
        assert unused == []
