import inspect

import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.diff2lip.loss import l2_loss, simple_loss
from lightning_modules.diff2lip.module import Diff2Lip
from networks.feature_networks import SmallDistance
from networks.sync_network import SyncNetwork
from tests.lightning_modules.diff2lip.cases import (
    NO_EXPERTS,
    SIZE,
    SMALL,
    SYNCNET,
    batch_of,
    diff2lip,
    fit,
    frames_of,
    moved,
    weights_of,
)
from visionscapes.errors import UserError


def denoised(module, batch=None, seed=3):
    windows = module.windows_of(batch or batch_of())
    torch.manual_seed(seed)
    return windows, module.denoise(windows)


def test_equation_6_13():
    module = moved(diff2lip(diffusion={"prediction": "sample"}))
    module.steps_taken = lambda: 0
    windows, made = denoised(module)
    losses = module.generator_losses(windows, made)
    rest = 1 - windows.mask
    frames = made.frames * windows.mask + windows.truth * rest
    assert losses["simple"] == simple_loss(made.prediction, made.target, windows.mask)
    assert losses["l2"] == 1.0 * l2_loss(made.frames, windows.truth, windows.mask)
    expert = SyncNetwork.from_file(SYNCNET)
    probability = expert.probability(expert((frames + 1) / 2, windows.mel))
    assert losses["sync"].item() == pytest.approx(-0.1 * probability.log().mean().item(), rel=1e-4)
    distance = SmallDistance()((frames.flatten(0, 1) + 1) / 2, (windows.truth.flatten(0, 1) + 1) / 2)
    assert losses["perceptual"].item() == pytest.approx(0.25 * distance.mean().item(), rel=1e-4)
    (maps,) = module.discriminator(frames[..., SIZE // 2 :, :].flatten(1, 2))
    gan = torch.nn.functional.softplus(-maps[-1]).mean()
    assert losses["gan"].item() == pytest.approx(0.5 * gan.item(), rel=1e-4)
    assert list(losses) == ["simple", "l2", "sync", "perceptual", "gan"]


def test_the_frames_of_a_window_share_their_step():
    module = diff2lip(**NO_EXPERTS)
    seen = []
    module.generator.register_forward_pre_hook(lambda *hook: seen.append(hook[1]))
    windows, made = denoised(module, batch_of(clips=4, windows=3))
    (x_t, step, _), truth = seen[0], windows.truth
    assert torch.equal(step.unflatten(0, (12, 5)), made.step[:, None].expand(12, 5))
    assert len(made.step.unique()) > 6
    below = slice(SIZE // 2, None)
    alphas = module.diffusion.alphas[made.step]
    noise = (x_t.unflatten(0, (12, 5)) - alphas.sqrt()[:, None, None, None, None] * truth) / (1 - alphas).sqrt()[
        :, None, None, None, None
    ]
    torch.testing.assert_close(noise[..., below, :], made.target[..., below, :], atol=1e-3, rtol=1e-3)


def test_the_masked_frame_has_noise_of_its_own():
    module = diff2lip(**NO_EXPERTS)
    seen = []
    module.generator.register_forward_pre_hook(lambda *hook: seen.append(hook[2]), with_kwargs=True)
    windows, made = denoised(module)
    masked, reference, mask = seen[0]["conditions"]
    above = slice(0, SIZE // 2)
    assert torch.equal(masked[..., above, :], windows.truth.flatten(0, 1)[..., above, :])
    assert torch.equal(reference, windows.reference.flatten(0, 1))
    assert torch.equal(mask, windows.mask.flatten(0, 1))
    below = slice(SIZE // 2, None)
    pair = torch.stack([masked[..., below, :].flatten(), made.target[..., below, :].flatten()])
    assert torch.corrcoef(pair)[0, 1].abs() < 0.05


def test_both_networks_learn_from_one_pass():
    module, begun = diff2lip(), diff2lip()
    passes = []
    module.generator.register_forward_hook(lambda *hook: passes.append(hook[1][0].shape))
    trainer = fit(module, steps=1)
    assert len(passes) == 1
    assert trainer.global_step == 2, "one step of either network"
    for name in ("generator.unet.conv_out.weight", "discriminator.scales.0.blocks.0.0.weight"):
        assert not torch.equal(weights_of(module)[name], weights_of(begun)[name])


def test_without_a_gan_there_is_one_optimiser():
    module = diff2lip(**NO_EXPERTS, optimizer={"ema": 0.5, "warmup": 1})
    before = weights_of(module)
    trainer = fit(module, steps=3)
    assert module.discriminator is None
    assert len(trainer.optimizers) == 1
    assert trainer.global_step == 3
    after = weights_of(module)
    assert not torch.equal(after["generator.unet.conv_out.weight"], before["generator.unet.conv_out.weight"])


@pytest.mark.parametrize("prediction", ["eps", "v", "sample"])
def test_training_makes_the_loss_fall(prediction):
    module = diff2lip(**NO_EXPERTS, diffusion={"prediction": prediction})
    grey = {**batch_of(clips=1), "faces": torch.full((1, 2, 5, 3, SIZE, SIZE), 0.8)}
    optimizer = torch.optim.Adam(module.generator.parameters(), 1e-2)
    windows, losses = module.windows_of(grey), []
    for _ in range(30):
        made = module.denoise(windows)
        loss = simple_loss(made.prediction, made.target, windows.mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < 0.7 * sum(losses[:10]) / 10


def test_half_precision_with_losses_that_begin_later():
    """The scaler of float16 has nothing to unscale of a discriminator that waits."""
    module = diff2lip(losses={"gan_start": 1, "sync_start": 1})
    trainer = fit(module, steps=3, precision="16-mixed")
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": "landmarks", "discriminator": {"judged": "region"}},
        {"audio": {"encoder": "syncnet", "syncnet": SYNCNET, "dropout": 0.5}, "sampling": {"guidance": 2.0}},
        {"diffusion": {"noise": "mixed", "clamp": "soft"}, "losses": {"l2_weighting": "min_snr"}},
        {
            "unet": {"learn_sigma": True, "conditioning": "scale_shift", "dropout": 0.1},
            "hardware": {"channels_last": True},
        },
        {
            "adversarial": {"gan_loss": "hinge", "r1": 1.0, "penalty_every": 2},
            "optimizer": {"accumulate": 2, "ema": 0.9},
        },
    ],
)
def test_options_train_and_dub(changes):
    module = diff2lip(**changes)
    trainer = fit(module, steps=2, precision="bf16-mixed")
    assert all(torch.isfinite(value) for value in trainer.callback_metrics.values())
    faces, references, mel = frames_of(3)
    landmarks = batch_of()["landmarks"][0, 0, :3]
    dubbed = module.dub(faces, references, mel, landmarks=landmarks)
    assert dubbed.faces.isfinite().all()
    assert not torch.equal(dubbed.faces, faces)


def test_training_in_one_go_or_with_a_break_is_the_same(tmp_path):
    options = {"optimizer": {"ema": 0.5}, "losses": {"gan_start": 1}}
    whole, first = diff2lip(**options), diff2lip(**options)

    def trained(module, epochs, ckpt_path=None):
        from callbacks.run.reproducible_steps import ReproducibleSteps

        return fit(module, 2, ckpt_path, max_epochs=epochs, callbacks=[ReproducibleSteps(0)])

    trained(whole, 2)
    trained(first, 1).save_checkpoint(tmp_path / "one.ckpt")
    second = diff2lip(seed=5, **options)
    trained(second, 2, tmp_path / "one.ckpt")
    wanted = weights_of(whole)
    assert all(torch.equal(value, wanted[name]) for name, value in weights_of(second).items())
    assert any(name.startswith("average.module.") for name in wanted)


def test_a_checkpoint_is_read_without_its_experts_in_it(tmp_path):
    module = diff2lip(optimizer={"ema": 0.5})
    fit(module, 1).save_checkpoint(tmp_path / "one.ckpt")
    content = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert {name.split(".")[0] for name in content["state_dict"]} == {"generator", "discriminator", "average"}
    read = Diff2Lip.load_from_checkpoint(tmp_path / "one.ckpt", sampling={"steps": 2})
    assert read.sampling.steps == 2
    assert read.sampling.noise_seed == 7
    again = diff2lip(weights=str(tmp_path / "one.ckpt"), optimizer={"ema": 0.5})
    with pytest.raises(UserError, match=r"region \(0, 0, 16, 16\)"):
        diff2lip(weights=str(tmp_path / "one.ckpt"), optimizer={"ema": 0.5}, region={"top": 0.5})
    for name, value in module.average.module.state_dict().items():
        assert torch.equal(again.generator.state_dict()[name], value)
        assert torch.equal(again.shown.state_dict()[name], value)


def test_sound_is_encoded_once_a_frame_and_the_unet_runs_once_a_step():
    module, calls = moved(diff2lip(**NO_EXPERTS, sampling={"steps": 4, "batch": 3})), []
    module.generator.audio.register_forward_hook(lambda *hook: calls.append(("audio", len(hook[1][0]))))
    module.generator.unet.register_forward_hook(lambda *hook: calls.append(("unet", len(hook[1][0]))))
    module.dub(*frames_of(5))
    assert calls == [("audio", 3), *[("unet", 3)] * 4, ("audio", 2), *[("unet", 2)] * 4]


def test_the_condition_at_inference_has_the_noise_that_frames_are_made_of():
    module, seen = moved(diff2lip(**NO_EXPERTS)), []
    module.generator.register_forward_pre_hook(lambda *hook: seen.append((hook[1], hook[2])), with_kwargs=True)
    module.dub(*frames_of(2))
    (x_t, *_), more = seen[0]
    below = slice(SIZE // 2, None)
    assert torch.equal(more["conditions"].masked[..., below, :], x_t[..., below, :])
    random = torch.Generator().manual_seed(7)
    assert torch.equal(x_t[1], torch.randn(3, SIZE, SIZE, generator=random))


def test_guidance_moves_away_from_what_is_made_without_sound():
    def made(guidance):
        options = {"sampling": {"steps": 1, "guidance": guidance}, "diffusion": {"prediction": "sample"}}
        options["audio"] = {"dropout": 0.1}
        return moved(diff2lip(**NO_EXPERTS, **options), 0.02).dub(*frames_of(2)).patches  # too little to be clamped

    without, plain, beyond = (made(guidance) for guidance in (0.0, 1.0, 1.5))
    torch.testing.assert_close(beyond, without + 1.5 * (plain - without), atol=1e-5, rtol=0)
    assert (plain - without).abs().max() > 1e-3


def test_the_trace_is_of_what_dubbing_does():
    module = moved(diff2lip(**NO_EXPERTS, sampling={"steps": 10}))
    faces, references, mel = frames_of(2)
    trace = module.trace(faces, references, mel, steps=4)
    assert trace.steps == [900, 600, 300, 0]
    assert trace.noised.shape == trace.samples.shape == (4, 2, 3, SIZE, SIZE)
    torch.testing.assert_close(trace.samples[-1], module.dub(faces, references, mel).patches, atol=1e-5, rtol=0)


def test_the_trace_of_few_steps_takes_more():
    module = moved(diff2lip(**NO_EXPERTS, sampling={"steps": 2}))
    assert module.trace(*frames_of(2), steps=5).steps == [800, 600, 400, 200, 0]


def test_defaults_are_those_of_the_thesis_and_the_released_network():
    defaults = {name: each.default for name, each in inspect.signature(Diff2Lip).parameters.items()}
    unet, losses, sampling = defaults["unet"], defaults["losses"], defaults["sampling"]
    assert (defaults["face_size"], defaults["mask"], defaults["reference"]) == (128, "lower", "input")
    assert (unet.base, unet.multipliers, unet.blocks, unet.head_channels) == (128, (1, 1, 2, 3, 4), 2, 64)
    assert unet.attention_levels == (2, 3, 4)
    assert (unet.conditioning, unet.learn_sigma) == ("additive", False)
    assert (losses.lambda_l2, losses.lambda_sync, losses.lambda_perceptual, losses.lambda_gan) == (1, 0.1, 0.25, 0.5)
    assert (defaults["diffusion"].steps, defaults["diffusion"].prediction) == (1000, "eps")
    assert (sampling.steps, sampling.noise_seed, sampling.noise, sampling.guidance) == (25, 7, "shared", 1)
    assert (defaults["optimizer"].lr, defaults["optimizer"].beta1) == (1e-4, 0.9)


def test_sizes_and_regions():
    for face_size, region in ((24, {}), (20, {"left": 0.2, "right": 0.8, "top": 0.4, "bottom": 1.0})):
        module = moved(diff2lip(**NO_EXPERTS, face_size=face_size, region=region))
        assert module.dub(*frames_of(1, size=face_size)).faces.shape == (1, 3, face_size, face_size)
    with pytest.raises(UserError, match="multiples of 2"):
        diff2lip(**NO_EXPERTS, face_size=15)
    with pytest.raises(UserError, match=r"Diff2Lip\.face_size is 0"):
        diff2lip(face_size=0)


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(UserError, match=r"sampling\.steps is 25; there are 10"):
        diff2lip(**NO_EXPERTS, diffusion={"steps": 10}, sampling={"steps": 25})
    with pytest.raises(UserError, match=r"audio\.dropout"):
        diff2lip(**NO_EXPERTS, sampling={"guidance": 2.0})


def test_dubbing_needs_no_experts():
    """A checkpoint may be used where their files are not."""
    module = Diff2Lip(**{**SMALL, "experts": {"syncnet": "none.safetensors", "perceptual_weights": "none.pth"}})
    assert module.dub(*frames_of(1)).faces.shape == (1, 3, SIZE, SIZE)
    with pytest.raises(UserError, match=r"no weights at 'none\.safetensors'"):
        module.call_experts()


def test_the_kept_weights_are_those_that_dub(tmp_path):
    module = moved(diff2lip(**NO_EXPERTS, optimizer={"ema": 0.5}))
    module.trained_on_drawn = True
    save_file(module.backbone_state(), tmp_path / "backbone.safetensors", module.backbone_options())
    again = diff2lip(seed=4, **NO_EXPERTS, weights=str(tmp_path / "backbone.safetensors"))
    torch.testing.assert_close(again.dub(*frames_of(2)).faces, module.dub(*frames_of(2)).faces)
    assert again.trained_on_drawn
    with pytest.raises(UserError, match=r"region \(0, 0, 16, 16\)"):
        diff2lip(**NO_EXPERTS, region={"top": 0.5}, weights=str(tmp_path / "backbone.safetensors"))
    with pytest.raises(UserError, match=r"trained as Diff2Lip whose .*prediction is eps, and the model is .*v:"):
        diff2lip(**NO_EXPERTS, diffusion={"prediction": "v"}, weights=str(tmp_path / "backbone.safetensors"))
