from types import SimpleNamespace

import torch
from pytorch_lightning import LightningModule
from torch import nn

from callbacks.run.exact_batch_norm import ExactBatchNorm
from networks.batch_norm import GlobalBatchNorm


class Network(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.BatchNorm1d(3)
        self.rest = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        self.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")))


def test_layers_are_put_in_and_taken_out_again():
    network, plugin = Network(), ExactBatchNorm()
    originals, state = [network.first, network.rest[1]], network.state_dict()
    plugin.apply(network)
    assert isinstance(network.first, GlobalBatchNorm)
    assert isinstance(network.rest[1], GlobalBatchNorm)
    assert network.state_dict().keys() == state.keys()
    network.eval()
    network.rest[1].running_mean.fill_(5)

    plugin.revert(network)
    assert [network.first, network.rest[1]] == originals
    assert not network.first.training
    assert network.rest[1].running_mean.tolist() == [5, 5]
