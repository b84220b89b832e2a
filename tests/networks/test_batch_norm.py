import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn

from networks.batch_norm import GlobalBatchNorm

DEALT = (5, 3)  # samples of each process


def inputs() -> torch.Tensor:
    return torch.randn(sum(DEALT), 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3 + 7


def loss_of(out: torch.Tensor, offset: int) -> torch.Tensor:
    """A loss that weighs every element differently."""
    return (out.sin() * torch.arange(offset, offset + len(out)).view(-1, 1, 1, 1)).sum()


def layer_of(kind: type, momentum: float | None) -> nn.Module:
    layer = kind(4, momentum=momentum).double()
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(0.5, 2, 4))
        layer.bias.copy_(torch.linspace(-1, 1, 4))
    return layer


def one_rank(rank: int, folder: str, momentum: float | None) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    layer = layer_of(GlobalBatchNorm, momentum)
    first = sum(DEALT[:rank])
    x = inputs()[first : first + DEALT[rank]].requires_grad_()
    for _ in range(2):
        out = layer(x)
    loss_of(out, first).backward()
    result = {"out": out.detach(), "x": x.grad, "weight": layer.weight.grad, "state": layer.state_dict()}
    torch.save(result, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("momentum", [0.3, None])
def test_two_processes_normalise_like_one(tmp_path, momentum):
    torch.multiprocessing.spawn(one_rank, (str(tmp_path), momentum), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]

    layer = layer_of(nn.BatchNorm2d, momentum)
    x = inputs().requires_grad_()
    for _ in range(2):
        out = layer(x)
    loss_of(out, 0).backward()
    torch.testing.assert_close(torch.cat([rank["out"] for rank in ranks]), out.detach())
    torch.testing.assert_close(torch.cat([rank["x"] for rank in ranks]), x.grad)
    torch.testing.assert_close(ranks[0]["weight"] + ranks[1]["weight"], layer.weight.grad)
    for rank in ranks:
        assert rank["state"].keys() == layer.state_dict().keys()
        for name, value in layer.state_dict().items():
            torch.testing.assert_close(rank["state"][name], value)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("kind", "shape"), [(nn.BatchNorm1d, (6, 4)), (nn.BatchNorm2d, (6, 4, 3, 3))])
def test_alone_it_is_the_layer_it_shares_with(kind, shape, training):
    layer = kind(4).train(training)
    shared = GlobalBatchNorm.sharing(layer)
    x = torch.randn(shape)
    torch.testing.assert_close(shared(x), kind(4).train(training)(x))
    assert shared.training is training
    assert shared.weight is layer.weight
    assert layer.running_mean is shared.running_mean
    assert bool(layer.num_batches_tracked) is training
