import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from networks.gan.ema import moving_average
from networks.gan.noise import NoiseInjection
from networks.gan.residual_blocks import ResidualUp
from networks.gan.spade import SPADEResidualBlock


def step(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.randn(tensor.shape, generator=generator))


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def test_first_update_copies_and_later_ones_average():
    trained = model()
    averaged = moving_average(trained, 0.75)
    step(trained, 1)
    averaged.update_parameters(trained)
    first = {name: value.clone() for name, value in trained.state_dict().items()}
    for name, value in averaged.module.state_dict().items():
        assert torch.equal(value, first[name])
    step(trained, 2)
    averaged.update_parameters(trained)
    for name, value in averaged.module.state_dict().items():
        if value.is_floating_point():  # parameters and running statistics
            torch.testing.assert_close(value, 0.75 * first[name] + 0.25 * trained.state_dict()[name])


def test_it_equals_torchs_own_bit_for_bit_and_asks_once(monkeypatch):
    trained = model()
    ours, theirs = moving_average(trained, 0.9), AveragedModel(trained, None, None, get_ema_multi_avg_fn(0.9), True)
    asked = []
    update = AveragedModel.update_parameters
    monkeypatch.setattr(AveragedModel, "update_parameters", lambda self, each: (asked.append(self), update(self, each)))
    for seed in range(4):
        step(trained, seed)
        for average in (ours, theirs):
            average.update_parameters(trained)
    assert asked == [ours, *[theirs] * 4]
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)


def test_the_model_is_left_alone():
    trained = model()
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    averaged = moving_average(trained)
    averaged.update_parameters(trained)
    assert trained.training
    assert all(parameter.requires_grad for parameter in trained.parameters())
    assert not any(parameter.requires_grad for parameter in averaged.parameters())
    assert not averaged.module.training
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.data_ptr() != averaged.module.state_dict()[name].data_ptr()


def test_state_is_restored_exactly(tmp_path):
    """Saved after three updates and continued, it is what it would have been without the interruption."""
    trained = model()
    averaged = moving_average(trained, 0.9)
    for seed in range(3):
        step(trained, seed)
        averaged.update_parameters(trained)
    torch.save(averaged.state_dict(), tmp_path / "ema.pt")
    resumed = moving_average(model(), 0.9)
    resumed.load_state_dict(torch.load(tmp_path / "ema.pt"))
    assert resumed.n_averaged == 3
    step(trained, 4)
    for each in (averaged, resumed):
        each.update_parameters(trained)
    for name, value in averaged.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_of_the_blocks_of_this_package():
    x, style = torch.randn(2, 4, 4, 4), torch.randn(2, 6)
    up = ResidualUp(4, 3, 6)
    averaged = moving_average(up)
    averaged.update_parameters(up)
    torch.testing.assert_close(averaged(x, style), up(x, style))
    spade = SPADEResidualBlock(4, 3, 2, hidden=5, norm="batch", spectral=True).eval()
    averaged = moving_average(spade)
    averaged.update_parameters(spade)
    condition = torch.randn(2, 2, 4, 4)
    torch.testing.assert_close(averaged(x, condition), spade(x, condition))
    noise = NoiseInjection(4)
    averaged = moving_average(noise, 0.5)
    averaged.update_parameters(noise)
    with torch.no_grad():
        noise.weight.fill_(2.0)
    averaged.update_parameters(noise)
    assert averaged.module.weight.tolist() == [1.0] * 4


@pytest.mark.parametrize("decay", [-0.1, 1.1])
def test_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="decay"):
        moving_average(model(), decay)
