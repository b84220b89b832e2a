import copy

import torch
from torch import nn

from networks.companion import Companion, as_in


class Owner(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.beside = Companion(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)))


def test_it_is_no_part_of_its_owner():
    owner = Owner().train()
    assert owner.state_dict().keys() == {"layer.weight", "layer.bias"}
    assert [name for name, _ in owner.named_parameters()] == ["layer.weight", "layer.bias"]
    assert not owner.beside.network.training
    assert not any(weight.requires_grad for weight in owner.beside.network.parameters())


def test_it_goes_along():
    owner = Owner()
    assert owner.double().beside(torch.zeros(1, 2, dtype=torch.float64)).dtype == torch.float64
    assert owner.to("meta").beside.network[0].weight.device.type == "meta"


def test_a_copy_has_its_own():
    owner = Owner()
    other = copy.deepcopy(owner)
    other.double()
    assert owner.beside.network[0].weight.dtype == torch.float32


def test_inputs_come_in_its_type_of_numbers():
    companion = Owner().double().beside
    given = torch.zeros(1, 2, requires_grad=True)
    (made,) = as_in(companion, given)
    assert made.dtype == torch.float64
    companion(made).sum().backward()
    assert given.grad is not None
    nothing = Companion(nn.Identity())
    assert as_in(nothing, given) == [given]
