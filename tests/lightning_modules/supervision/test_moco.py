import math

import pytest
import torch

from datamodules.images.views import Views
from lightning_modules.supervision.moco import MoCo, info_nce
from tests.helpers.supervision import assert_backbone, fit
from tests.helpers.tiny_vit import MODEL, TINY
from visionscapes.errors import UserError

HEADS = {"projection": 8, "hidden": 16}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count=6, seed=0):
    first, second = torch.rand(2, count, 3, 32, 32, generator=generator(seed))
    return {"views": Views([first, second], torch.zeros(2, count, 4))}


def module(**more):
    torch.manual_seed(0)
    made = MoCo(MODEL, TINY, **HEADS | more)
    made.log = lambda *args, **kwargs: None
    return made


def naive(queries, keys, temperature):
    total = 0.0
    for i, query in enumerate(queries):
        scores = []
        for key in keys:
            cosine = sum(a * b for a, b in zip(query, key, strict=True)) / math.hypot(*query) / math.hypot(*key)
            scores.append(cosine / temperature)
        total += math.log(sum(map(math.exp, scores))) - scores[i]
    return 2 * temperature * total / len(queries)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_loss_against_two_loops(temperature):
    queries, keys = torch.randn(2, 5, 7, generator=generator()) * 3
    wanted = naive(queries.tolist(), keys.tolist(), temperature)
    assert info_nce(queries, keys, temperature).item() == pytest.approx(wanted, rel=1e-5)


def test_loss_of_perfect_and_of_useless_features():
    perfect = torch.eye(4)
    assert info_nce(perfect, 5 * perfect, 0.01).item() == pytest.approx(0, abs=1e-6)
    assert info_nce(torch.ones(4, 3), torch.ones(4, 3), 0.2).item() == pytest.approx(0.4 * math.log(4))


def test_keys_get_no_gradient():
    queries, keys = (torch.randn(4, 3, generator=generator(s)).requires_grad_() for s in (0, 1))
    info_nce(queries, keys, 0.2).backward()
    assert keys.grad is None
    assert queries.grad.abs().sum() > 0


def test_processes_share_their_keys(monkeypatch):
    queries, keys = torch.randn(2, 6, 5, generator=generator())
    whole = info_nce(queries, keys, 0.2)
    normalised = torch.nn.functional.normalize(keys, dim=1).chunk(2)
    monkeypatch.setattr("lightly.utils.dist.world_size", lambda: 2)
    monkeypatch.setattr("lightly.utils.dist.gather", lambda _: normalised)
    parts = []
    for rank in range(2):
        monkeypatch.setattr("lightly.utils.dist.rank", lambda rank=rank: rank)
        parts.append(info_nce(queries.chunk(2)[rank], keys.chunk(2)[rank], 0.2))
    torch.testing.assert_close(sum(parts) / 2, whole)


def still(made):
    made._follow = lambda: None
    return made


def test_loss_is_symmetric_in_the_views():
    made, given = still(module()), batch()
    views = given["views"]
    swapped = {"views": Views(views.images[::-1], views.boxes)}
    torch.testing.assert_close(made.training_step(given, 0), made.training_step(swapped, 0))


def test_only_the_trained_half_gets_gradients():
    made = still(module())
    made.training_step(batch(), 0).backward()
    vit = made.network.vit
    held = [vit.pos_embed, *vit.patch_embed.parameters()]
    for parameter in [*made.momentum_network.parameters(), *made.momentum_projector.parameters(), *held]:
        assert not parameter.requires_grad
        assert parameter.grad is None
    trained = [each for each in made.parameters() if each.requires_grad]
    assert {id(each) for each in (vit.cls_token, vit.norm.weight)} <= {id(each) for each in trained}
    assert all(each.grad is not None for each in trained)


def test_stability_tricks_can_be_left_out():
    vit = module(frozen_patch_embedding=False, fixed_positions=False).network.vit
    assert vit.pos_embed.requires_grad
    assert all(parameter.requires_grad for parameter in vit.patch_embed.parameters())


def test_fixed_positions_by_hand():
    table = module().network.vit.pos_embed[0]
    assert table.shape == (17, 16)
    assert torch.equal(table[0], torch.zeros(16)), "the class token has none"
    x, y, frequencies = 2, 3, [10000 ** (-k / 4) for k in range(4)]
    wanted = [f(place * w) for place in (x, y) for f in (math.sin, math.cos) for w in frequencies]
    assert table[1 + 4 * y + x].tolist() == pytest.approx(wanted, abs=1e-6)


def test_frozen_patch_embedding_within_its_bound():
    projection = module().network.vit.patch_embed.proj
    bound = math.sqrt(6 / (3 * 8 * 8 + 16))
    assert bound * 0.95 < projection.weight.abs().max() <= bound
    assert not projection.bias.any()


@pytest.mark.parametrize("args", [{"pos_embed": "none"}, {"img_size": [16, 32]}, {"embed_dim": 18, "num_heads": 1}])
def test_fixed_positions_need_a_square_table(args):
    with pytest.raises(UserError, match="fixed_positions=false"):
        MoCo(MODEL, TINY | args, **HEADS)
    MoCo(MODEL, TINY | args, fixed_positions=False, **HEADS)


class Recorded(MoCo):
    """Keeps both encoders as they are around every update; views are made once a batch has arrived, as the data do."""

    def on_after_batch_transfer(self, given, dataloader_idx):
        return {"views": Views(list(given["pictures"]), torch.zeros(2, 6, 4))}

    def _follow(self):
        def weights(*networks):
            return torch.cat([each.detach().flatten() for network in networks for each in network.parameters()])

        averaged = self.momentum_network, self.momentum_projector
        before, encoder = weights(*averaged), weights(self.network, self.projector)
        super()._follow()
        self.steps.append((before, encoder, weights(*averaged)))


def test_training_lowers_the_loss_and_leaves_plain_files(tmp_path):
    torch.manual_seed(0)
    made, given = Recorded(MODEL, TINY, momentum=0.9, lr=5e-3, warmup=1, **HEADS), batch()
    made.steps = []
    losses, checkpoint = fit(made, {"pictures": torch.stack(given["views"].images)}, 8, tmp_path)
    assert losses[-1] < losses[0]
    for step, (before, encoder, after) in enumerate(made.steps):
        momentum = 1 - 0.1 * 0.5 * (1 + math.cos(math.pi * step / 8))
        torch.testing.assert_close(after, momentum * before + (1 - momentum) * encoder, atol=1e-6, rtol=1e-5)
    assert torch.equal(made.steps[0][0], made.steps[0][1]), "both start alike"
    assert not torch.equal(made.steps[-1][0], made.steps[-1][1])
    assert checkpoint["hyper_parameters"]["temperature"] == 0.2
    assert_backbone(made, given["views"].images[0])
    for name in ("pos_embed", "patch_embed.proj.weight"):
        averaged = made.momentum_network.vit.state_dict()[name]
        torch.testing.assert_close(averaged, made.backbone_state()[name])
