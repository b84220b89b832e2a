import math

import pytest
import torch

from lightning_modules.adversarial_options import OptimizerOptions
from lightning_modules.diff2lip.baselines.wav2lip import BLACK, OnePassLosses, windows_of_clip
from networks.audio import mel_start
from tests.helpers.quiet_trainer import quiet_trainer
from tests.lightning_modules.diff2lip.baselines import cases
from visionscapes.errors import UserError


def randomised(module):
    """The network is zero at its ends at the start, so that nothing would depend on anything."""
    random = torch.Generator().manual_seed(1)
    for each in module.generator.parameters():
        each.data += 0.05 * torch.randn(each.shape, generator=random)
    return module


def mouths(module, inputs, reference, mel):
    mask = module.view.masks(inputs, None)
    return module.one_pass(module.generator.eval(), inputs, reference, mask=mask, frame_mel=mel)


def draw(*shape, seed=0):
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) - 1


@torch.no_grad()
def test_the_mouth_comes_from_reference_and_sound_and_not_from_the_input_mouth():
    module, half = randomised(cases.wav2lip()), cases.SIZE // 2
    inputs, reference = draw(2, 3, cases.SIZE, cases.SIZE), draw(2, 3, cases.SIZE, cases.SIZE, seed=1)
    mel = draw(2, 80, 16, seed=2)
    made = mouths(module, inputs, reference, mel)
    assert made.shape == inputs.shape
    assert made.abs().max() < 1
    hidden = inputs.clone()
    hidden[..., half:, :] = BLACK
    assert torch.equal(mouths(module, hidden, reference, mel), made)
    for changed in ((-inputs, reference, mel), (inputs, -reference, mel), (inputs, reference, -mel)):
        assert not torch.allclose(mouths(module, *changed), made, atol=1e-5)


@torch.no_grad()
def test_frames_do_not_depend_on_those_beside_them():
    module = randomised(cases.wav2lip(batch=5))
    faces, mel = draw(12, 3, cases.SIZE, cases.SIZE).abs(), draw(12, 80, 16)
    whole = module.dub(faces, faces.flip(0), mel)
    assert torch.allclose(module.dub(faces[7:8], faces.flip(0)[7:8], mel[7:8]).faces, whole.faces[7:8], atol=1e-5)
    assert torch.equal(whole.faces[..., : cases.SIZE // 2, :], faces[..., : cases.SIZE // 2, :])


def losses_at(module, steps, monkeypatch):
    monkeypatch.setattr(module, "steps_taken", lambda: steps)
    windows = module.windows_of(cases.training_batch())
    frames = torch.zeros_like(windows.truth).requires_grad_()
    return module.generator_losses(windows, frames), windows, frames


@pytest.mark.parametrize(
    ("objective", "begun", "steps", "weights"),
    [
        (OnePassLosses(), False, 10**6, {"l1": 0.93, "gan": 0.07}),  # the threshold alone decides
        (OnePassLosses(), True, 0, {"l1": 0.9, "gan": 0.07, "sync": 0.03}),
        (OnePassLosses(sync_start=5), False, 4, {"l1": 0.93, "gan": 0.07}),
        (OnePassLosses(sync_start=5), False, 5, {"l1": 0.9, "gan": 0.07, "sync": 0.03}),
        (OnePassLosses(gan_start=5), False, 4, {"l1": 1.0}),
        (OnePassLosses(lambda_gan=0.0, lambda_sync=0.0), True, 0, {"l1": 1.0}),
    ],
)
def test_weights_add_up_to_one_and_begin_when_they_should(objective, begun, steps, weights, monkeypatch):
    module = cases.wav2lip(objective)
    module.below_threshold = begun
    losses, windows, frames = losses_at(module, steps, monkeypatch)
    assert losses.keys() == weights.keys()
    half = cases.SIZE // 2
    error = (frames - windows.truth)[..., half:, :].abs().mean() / 2  # of colours in [0, 1], over what is generated
    assert losses["l1"].item() == pytest.approx(weights["l1"] * error.item(), rel=1e-5)
    if "sync" in weights:
        assert losses["sync"].item() == pytest.approx(0.03 * module.sync_term(windows, frames).item(), rel=1e-5)
    if "gan" in weights:
        assert losses["gan"].item() == pytest.approx(0.07 * module.gan_term(windows, frames).item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(torch.stack(list(losses.values())).sum(), frames)
    assert gradient[..., :half, :].abs().max() == 0
    assert gradient[..., half:, :].abs().min() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lambda_sync": 0.6, "lambda_gan": 0.5}, "more than 1 together"),
        ({"sync_threshold": None}, "would never count"),
        ({"sync_threshold": 0.0}, "sync_threshold"),
        ({"lambda_gan": 1.5}, "lambda_gan"),
    ],
)
def test_wrong_losses_are_told(options, message):
    with pytest.raises(UserError, match=message):
        OnePassLosses(**options)


def test_windows_of_a_clip_follow_on_each_other_and_have_their_sound():
    faces, mel = torch.arange(23.0)[:, None, None, None].expand(-1, 3, 4, 4), torch.arange(80.0).expand(80, -1)
    windows, sounds = windows_of_clip(faces, mel)
    assert windows[:, :, 0, 0, 0].tolist() == [[5.0 * k + i for i in range(5)] for k in range(4)]
    assert sounds[:, 0, 0].tolist() == [mel_start(5 * k) for k in range(4)]
    assert sounds.shape == (4, 80, 16)
    short, none = windows_of_clip(faces[:4], mel)
    assert (short.shape, none.shape) == ((0, 5, 3, 4, 4), (0, 80, 16))
    assert len(windows_of_clip(faces, mel[:, :33])[0]) == 2  # 16 + 16 steps, of which the third window would need 48


def fitted(folder, module, **options):
    """Train for two epochs of two batches, with a validation after each."""
    trainer = quiet_trainer(folder, [], max_epochs=2, num_sanity_val_steps=1, **options)
    pairs = [cases.pair("reconstruction"), cases.pair("cross", seed=1)]
    batches = [cases.training_batch(seed=seed) for seed in range(2)]
    plain = {"batch_size": None}
    trainer.fit(module, torch.utils.data.DataLoader(batches, **plain), torch.utils.data.DataLoader(pairs, **plain))
    return trainer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("threshold", "begun"), [(100.0, True), (1e-6, False)])
def test_the_syncnet_counts_from_the_validation_on_that_falls_below_the_threshold(tmp_path, threshold, begun):
    module = cases.wav2lip(OnePassLosses(sync_threshold=threshold))
    counted = []
    original = module.learn

    def learn(losses, *rest, **more):
        counted.append("sync" in losses)
        original(losses, *rest, **more)

    module.learn = learn
    trainer = fitted(tmp_path, module)
    assert counted == [False, False, begun, begun]  # the sanity check before the training does not count
    assert math.isfinite(trainer.callback_metrics["val/sync"])
    path = tmp_path / "last.ckpt"
    trainer.save_checkpoint(path)
    loaded = cases.wav2lip()
    loaded.on_load_checkpoint(torch.load(path, weights_only=True))
    assert loaded.below_threshold is begun


@pytest.mark.filterwarnings("ignore")
def test_training_learns_the_faces(tmp_path):
    """People of one colour each, which the reference shows: L1 falls."""
    optimizer = OptimizerOptions(lr=2e-2, beta1=0.5, decay_epochs=0.0)
    module = cases.wav2lip(OnePassLosses(lambda_sync=0.0, lambda_gan=0.0), optimizer=optimizer)
    batch = cases.training_batch()
    colours = torch.rand(2, 1, 1, 3, 1, 1, generator=torch.Generator().manual_seed(3))
    batch["faces"] = colours.expand_as(batch["faces"]).clone()
    seen, original = [], module.learn

    def learn(losses, *rest, **more):
        seen.append(losses["l1"].item())
        original(losses, *rest, **more)

    module.learn = learn
    trainer = quiet_trainer(tmp_path, [], max_steps=20, limit_val_batches=0)
    trainer.fit(module, torch.utils.data.DataLoader([batch] * 20, batch_size=None))
    assert sum(seen[-3:]) < 0.6 * sum(seen[:3])
