import math

import pytest
import torch

from lightning_modules.diff2lip.diffusion import (
    Diffusion,
    DiffusionOptions,
    combined,
    frame_noise,
    soft_clamp,
    step_back,
    window_noise,
)

PREDICTIONS = ("eps", "v", "sample")


def frames(seed=0, count=4):
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_noise_scales_are_linear_in_beta():
    alphas = Diffusion().alphas
    betas = [1e-4 + (0.02 - 1e-4) * step / 999 for step in range(1000)]
    wanted = math.exp(sum(math.log(1 - beta) for beta in betas))
    assert alphas[0] == pytest.approx(1 - 1e-4)
    assert alphas[999].item() == pytest.approx(wanted, rel=1e-4)


def test_equation_6_5_is_the_distribution_of_equation_6_6():
    diffusion, random = Diffusion(), torch.Generator().manual_seed(0)
    step = torch.tensor([300])
    noised = diffusion.noised(torch.tensor(0.7), torch.randn(200_000, generator=random), step).flatten()
    alpha = diffusion.alphas[300]
    assert noised.mean().item() == pytest.approx(0.7 * alpha.sqrt().item(), abs=5e-3)
    assert noised.var().item() == pytest.approx(1 - alpha.item(), rel=1e-2)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_estimate_of_a_perfect_prediction_is_the_truth(prediction):
    diffusion = Diffusion(DiffusionOptions(prediction=prediction))
    truth, noise, step = frames(), torch.randn(4, 3, 8, 8), torch.tensor([1, 200, 500, 900])
    noised = diffusion.noised(truth, noise, step)
    estimate = diffusion.estimate(diffusion.target(truth, noise, step), noised, step)
    torch.testing.assert_close(estimate.sample, truth, atol=1e-3, rtol=0)
    torch.testing.assert_close(estimate.noise, noise, atol=1e-3, rtol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize(("steps", "spacing"), [(25, "leading"), (2, "leading"), (4, "trailing"), (1, "trailing")])
def test_equation_6_8_is_a_step_of_ddim(prediction, steps, spacing):
    diffusion = Diffusion(DiffusionOptions(prediction=prediction))
    scheduler = diffusion.scheduler(steps, spacing)
    assert scheduler.timesteps[0] == ({25: 960, 2: 500}[steps] if spacing == "leading" else 999)
    noised, jump = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)), 1000 // steps
    for step in scheduler.timesteps.tolist():
        predicted = 0.1 * frames(step, 2)
        before, sample = scheduler.step(predicted, step, noised, use_clipped_model_output=True, return_dict=False)
        alpha = diffusion.alphas[step]
        clipped = diffusion.estimate(predicted, noised, torch.tensor([step])).sample.clamp(-1, 1)
        torch.testing.assert_close(sample, clipped, atol=1e-4, rtol=1e-4)
        noise = (noised - alpha.sqrt() * clipped) / (1 - alpha).sqrt()
        earlier = diffusion.alphas[step - jump] if step >= jump else torch.tensor(1.0)
        torch.testing.assert_close(before, step_back(noised, noise, (alpha, earlier)), atol=1e-4, rtol=1e-4)
        noised = before


def test_a_hard_clamp_has_no_gradient_at_large_t_and_the_others_have():
    slopes = {}
    for clamp in ("hard", "soft", "none"):
        diffusion = Diffusion(DiffusionOptions(clamp=clamp))
        predicted = torch.zeros(1, 3, 8, 8, requires_grad=True)
        noised = torch.full((1, 3, 8, 8), 0.5)
        step = torch.tensor([999])
        diffusion.clamped(diffusion.estimate(predicted, noised, step).sample).sum().backward()
        slopes[clamp] = predicted.grad.abs().max().item()
    assert slopes["hard"] == 0
    assert slopes["none"] == pytest.approx(157.5, rel=0.01)
    assert 0 < slopes["soft"] < 3


def test_the_soft_clamp_is_smooth_where_it_begins():
    values = torch.tensor([-2.0, -1.0, 0.3, 1.0, math.e], requires_grad=True)
    clamped = soft_clamp(values)
    torch.testing.assert_close(clamped, torch.tensor([-1 - math.log(2), -1, 0.3, 1, 2]))
    clamped.sum().backward()
    torch.testing.assert_close(values.grad, torch.tensor([0.5, 1, 1, 1, 1 / math.e]))


@pytest.mark.parametrize(("kind", "common"), [("shared", 1.0), ("mixed", 0.5), ("independent", 0.0)])
def test_frames_of_a_window_have_noise_in_common(kind, common):
    torch.manual_seed(0)
    noise = window_noise(torch.zeros(8, 5, 3, 32, 32), kind)
    assert noise.var().item() == pytest.approx(1, abs=0.02)
    first, second = noise[:, 0].flatten(), noise[:, 3].flatten()
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].item() == pytest.approx(common, abs=0.02)
    windows = noise[0].flatten(), noise[1].flatten()
    assert torch.corrcoef(torch.stack(windows))[0, 1].abs() < 0.02


@pytest.mark.parametrize("kind", ["shared", "mixed", "independent"])
def test_the_noise_of_a_frame_depends_on_its_number_and_the_seed_alone(kind):
    whole = frame_noise((8, 8), torch.arange(6), seed=7, kind=kind)
    parts = [frame_noise((8, 8), numbers, seed=7, kind=kind) for numbers in torch.arange(6).split(4)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(whole[0], whole[1]) == (kind == "shared")
    assert not torch.equal(frame_noise((8, 8), torch.arange(6), seed=8, kind=kind), whole)


def test_shared_noise_is_that_of_the_authors():
    """One draw of torch's generator with the seed."""
    random = torch.Generator().manual_seed(7)
    wanted = torch.randn(1, 3, 8, 8, generator=random)
    assert torch.equal(frame_noise((8, 8), torch.arange(2), seed=7, kind="shared")[:1], wanted)


def test_half_of_the_variance_is_shared():
    shared, own = torch.ones(1, 3, 2, 2), torch.zeros(5, 3, 2, 2)
    torch.testing.assert_close(combined(shared, own, "mixed"), torch.full((5, 3, 2, 2), 0.5**0.5))


def test_the_scales_stay_precise_when_the_module_is_converted():
    assert Diffusion().to(torch.bfloat16).alphas.dtype == torch.float32
