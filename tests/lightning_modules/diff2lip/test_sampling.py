from itertools import pairwise

import torch

from lightning_modules.diff2lip.diffusion import Diffusion, DiffusionOptions
from lightning_modules.diff2lip.sampling import SamplingStep, chosen, guided, sampled


def test_a_network_that_knows_the_frame_brings_it_back_from_noise():
    truth = torch.rand(2, 3, 8, 8) * 2 - 1
    for steps in (1, 2, 25):
        scheduler = Diffusion(DiffusionOptions(prediction="sample")).scheduler(steps, "trailing")
        stages = list(sampled(lambda noised, step: truth, torch.randn_like(truth), scheduler))
        assert len(stages) == steps
        torch.testing.assert_close(stages[-1].before, truth, atol=1e-5, rtol=0)
        assert all(torch.equal(stage.sample, truth) for stage in stages)
        assert all(torch.equal(a.before, b.noised) for a, b in pairwise(stages))


def test_channels_of_variance_are_left_out():
    scheduler = Diffusion().scheduler(4)
    noise = torch.randn(1, 3, 8, 8)
    six = list(sampled(lambda noised, step: torch.cat([noised, noised + 9], 1), noise, scheduler))
    three = list(sampled(lambda noised, step: noised, noise, scheduler))
    assert torch.equal(six[-1].before, three[-1].before)


def test_guidance_goes_beyond_what_is_predicted_without_sound():
    def constant(value):
        return lambda noised, step: torch.full((1,), value)

    found = [guided(constant(3.0), constant(1.0), each)(torch.zeros(1), 0).item() for each in (0.0, 1.0, 2.0)]
    assert found == [1, 3, 5]


def test_the_steps_that_are_shown_are_uniform_and_have_both_ends():
    def stages(count):
        values = [torch.full((1, 3, 2, 2), float(each)) for each in range(count)]
        return [SamplingStep(count - 1 - each, values[each], values[each], values[each]) for each in range(count)]

    trace = chosen(stages(25), 4)
    assert trace.steps == [24, 16, 8, 0]
    assert trace.noised[:, 0, 0, 0, 0].tolist() == [0, 8, 16, 24]
    assert chosen(stages(2), 8).steps == [1, 0]
    assert chosen(stages(1), 8).samples.shape == (1, 1, 3, 2, 2)
