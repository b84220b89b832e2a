import pytest
import torch
from pytorch_lightning import Trainer
from safetensors.torch import save_file
from torch.utils.data import DataLoader, TensorDataset

from lightning_modules.supervision.mae import MAE, masked_pixel_loss
from networks.vit_features import create_vit
from networks.weights import load_weights
from tests.helpers.tiny_vit import MODEL, TINY
from visionscapes.errors import UserError

DECODER = {"decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2}


def module(**more):
    torch.manual_seed(0)
    made = MAE(MODEL, TINY, **DECODER | more)
    made.log = lambda *args, **kwargs: None
    return made


def pictures(count=4, side=32):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def loss_of(made, images):
    torch.manual_seed(5)  # of the masks
    return made.training_step({"image": images}, 0)


@pytest.mark.parametrize("normalised", [True, False])
def test_loss_against_patch_by_patch(normalised):
    images, hidden = pictures(2, 24), torch.tensor([[0, 5, 7], [3, 8, 1]])
    painted = torch.rand(2, 3, 3 * 64)
    squares = []
    for b in range(2):
        for k, place in enumerate(hidden[b].tolist()):
            top, left = 8 * (place // 3), 8 * (place % 3)
            patch = images[b, :, top : top + 8, left : left + 8]
            if normalised:
                patch = (patch - patch.mean()) / (patch.var(unbiased=True) + 1e-6).sqrt()
            guess = painted[b, k].view(8, 8, 3).permute(2, 0, 1)  # row, column, channel
            squares += (guess - patch).square().flatten().tolist()
    wanted = sum(squares) / len(squares)
    assert masked_pixel_loss(painted, images, hidden, 8, normalised).item() == pytest.approx(wanted, rel=1e-5)


def test_loss_of_knowing_nothing_and_of_knowing_everything():
    images, hidden = pictures(2, 24), torch.tensor([[0, 5, 7], [3, 8, 1]])
    nothing = masked_pixel_loss(torch.zeros(2, 3, 192), images, hidden, 8)
    assert nothing.item() == pytest.approx(191 / 192, rel=1e-3)
    pixels = images.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 4, 5, 1).reshape(2, 9, 192)
    known = pixels.gather(1, hidden[..., None].expand(-1, -1, 192))
    assert masked_pixel_loss(known, images, hidden, 8, normalise_patches=False).item() == 0


class Watched(MAE):
    """Keeps what the ViT is given and what is predicted."""

    def predict_hidden(self, seen, shown, hidden):
        self.seen, self.shown, self.hidden = seen, shown, hidden
        return super().predict_hidden(seen, shown, hidden)


@pytest.mark.parametrize(("ratio", "visible"), [(0.75, 4), (0.5, 8)])
def test_every_picture_shows_its_share_and_hides_the_rest(ratio, visible):
    torch.manual_seed(0)
    made = Watched(MODEL, TINY, **DECODER, mask_ratio=ratio)
    made.log = lambda *args, **kwargs: None
    loss_of(made, pictures())
    assert made.seen.shape == (4, 1 + visible, 16), "the ViT is shorter for it"
    assert (made.shown == 0).sum(1).tolist() == [1] * 4, "the class token is always shown"
    for shown, hidden in zip(made.shown.tolist(), made.hidden.tolist(), strict=True):
        assert sorted(shown + hidden) == list(range(17))
    assert len({tuple(sorted(shown)) for shown in made.shown.tolist()}) > 1, "pictures are masked differently"


def test_the_vit_does_not_see_hidden_patches():
    torch.manual_seed(0)
    made = Watched(MODEL, TINY, **DECODER).eval()
    made.log = lambda *args, **kwargs: None
    images = pictures()
    loss_of(made, images)
    seen, hidden = made.seen, made.hidden
    changed = images.clone()
    for b, places in enumerate(hidden.tolist()):
        for place in places:
            top, left = 8 * ((place - 1) // 4), 8 * ((place - 1) % 4)
            changed[b, :, top : top + 8, left : left + 8] = torch.rand(3, 8, 8)
    other = loss_of(made, changed)
    assert torch.equal(made.hidden, hidden)
    assert torch.equal(made.seen, seen), "not a bit of them"
    assert not torch.equal(other, loss_of(made, images)), "but they are what is predicted"
    top, left = (8 * side for side in divmod(int(made.shown[0, 1]) - 1, 4))
    images[0, :, top : top + 8, left : left + 8] = 0
    loss_of(made, images)
    assert not torch.equal(made.seen[0], seen[0])
    assert torch.equal(made.seen[1:], seen[1:])


def test_only_hidden_patches_are_compared():
    made, images = module(), pictures()
    pixels = images.clone().requires_grad_()
    torch.manual_seed(5)
    order = torch.rand(4, 17)
    order[:, 0] = -1
    hidden = order.argsort(1)[:, 5:] - 1
    guess = torch.zeros(4, 12, 192)
    masked_pixel_loss(guess, pixels, hidden, 8).backward()
    touched = pixels.grad.abs().amax(1).unfold(1, 8, 8).unfold(2, 8, 8).amax((3, 4)).flatten(1) > 0
    for b in range(4):
        assert touched[b].nonzero().flatten().tolist() == sorted(hidden[b].tolist())
    # The module's masks are the same: it draws one random number for every place of the sequence.
    wanted = masked_pixel_loss(made.predict_hidden(*seen(made, images, order)), made.normalise(images), hidden, 8)
    torch.testing.assert_close(loss_of(made, images), wanted)


def seen(made, images, order):
    """Return the arguments of ``predict_hidden``, the ViT applied with its own ``forward`` to a shorter sequence."""
    places = order.argsort(1)
    shown, vit = places[:, :5], made.encoder.vit
    tokens = vit.patch_embed(made.normalise(images)).flatten(1, 2)
    tokens = torch.cat([vit.cls_token.expand(4, -1, -1), tokens], 1) + vit.pos_embed
    kept = torch.stack([tokens[b, shown[b]] for b in range(4)])
    return vit.norm(vit.blocks(kept)), shown, places[:, 5:]


def test_the_decoder_puts_patches_back_where_they_were():
    """Shuffling the sequence that the ViT returns, together with its places, changes nothing."""
    made = module().eval()
    torch.manual_seed(0)
    places = torch.stack([torch.randperm(16) + 1 for _ in range(3)])
    shown, hidden = torch.cat([torch.zeros(3, 1).long(), places[:, :6]], 1), places[:, 6:]
    features = torch.rand(3, 7, 16)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    guess = made.predict_hidden(features, shown, hidden)
    torch.testing.assert_close(made.predict_hidden(features[:, order], shown[:, order], hidden), guess)
    assert not torch.allclose(made.predict_hidden(features[:, order], shown, hidden), guess, atol=1e-4)
    torch.testing.assert_close(made.predict_hidden(features, shown, hidden.flip(1)), guess.flip(1))


def test_positions_are_fixed_sines_and_cosines():
    made = module()
    positions = made.encoder.vit.pos_embed
    assert not positions.requires_grad
    assert not positions[:, 0].any(), "the class token has none"
    table = positions[0, 1:].view(4, 4, 16)
    first, second = table[..., :8], table[..., 8:]  # one half for each direction
    assert torch.equal(first, first[:1].expand(4, -1, -1))
    assert torch.equal(second, second[:, :1].expand(-1, 4, -1))
    torch.testing.assert_close(first[0, :, 0], torch.arange(4.0).sin())
    torch.testing.assert_close(second[:, 0, 4], torch.arange(4.0).cos())


def test_everything_that_is_trained_gets_a_gradient():
    made = module()
    loss_of(made, pictures()).backward()
    trained = {name: each for name, each in made.named_parameters() if each.requires_grad}
    assert [name for name, each in trained.items() if each.grad is None or not each.grad.any()] == []


class Pictures(MAE):
    def on_after_batch_transfer(self, batch, dataloader_idx):
        return {"image": batch[0]}

    def training_step(self, batch, batch_idx):
        torch.manual_seed(batch_idx)
        return super().training_step(batch, batch_idx)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Fit smooth pictures: hidden patches follow from shown ones."""
    torch.manual_seed(0)
    made = Pictures(MODEL, TINY | {"embed_dim": 32}, **DECODER | {"decoder_dim": 32}, lr=4e-3, warmup=3)
    corners = torch.rand(8, 3, 2, 2)
    images = torch.nn.functional.interpolate(corners, size=(32, 32), mode="bilinear", align_corners=True)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=40,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    before = {name: value.clone() for name, value in made.state_dict().items()}
    losses = []
    made.log = lambda name, value, **kwargs: losses.append(value.item())
    trainer.fit(made, DataLoader(TensorDataset(images), batch_size=8))
    path = tmp_path_factory.mktemp("mae") / "last.ckpt"
    trainer.save_checkpoint(path)
    return made, before, losses, path


def test_training_beats_the_guess_of_nothing(trained):
    _, _, losses, _ = trained
    assert losses[0] > 0.9
    assert sum(losses[-5:]) / 5 < 0.5


def test_what_is_trained_and_what_is_not(trained):
    made, before, _, _ = trained
    still = {name for name, value in made.state_dict().items() if torch.equal(value, before[name])}
    assert still == {"encoder.mask_token", "encoder.vit.pos_embed", "decoder.pos_embed"}
    groups = made.trainer.optimizers[0].param_groups
    assert {group["weight_decay"] for group in groups} == {0.0, 0.05}
    for group in groups:
        assert all((parameter.ndim <= 1) == (group["weight_decay"] == 0) for parameter in group["params"])
        assert tuple(group["betas"]) == (0.9, 0.95)


def test_the_checkpoint_needs_no_code_to_be_read(trained):
    made, _, _, path = trained
    content = torch.load(path, weights_only=True)
    assert content["hyper_parameters"]["mask_ratio"] == 0.75
    again = MAE.load_from_checkpoint(path, weights_only=True)
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in again.state_dict().items())


def test_what_is_kept_loads_strictly_and_is_what_was_trained(trained, tmp_path):
    made = trained[0].eval()
    save_file(made.backbone_state(), tmp_path / "backbone.safetensors")
    kept = create_vit(MODEL, None, TINY | {"embed_dim": 32}).eval()
    load_weights(kept, tmp_path / "backbone.safetensors")
    images = pictures()
    with torch.no_grad():
        everything = torch.arange(17).expand(4, -1)
        torch.testing.assert_close(kept.forward_features(images), made.encoder.encode(images, idx_keep=everything))


def test_half_precision():
    made = module()
    with torch.autocast("cpu", torch.bfloat16):
        half = loss_of(made, pictures())
    assert half.item() == pytest.approx(loss_of(made, pictures()).item(), rel=0.05)


@pytest.mark.parametrize("ratio", [0.0, 1.0, 0.97])
def test_ratios_that_leave_nothing(ratio):
    with pytest.raises(UserError, match=r"mask_ratio"):
        MAE(MODEL, TINY, mask_ratio=ratio)


@pytest.mark.parametrize("more", [{"reg_tokens": 2}, {"pos_embed": "none"}, {"no_embed_class": True}])
def test_vits_that_it_is_not_made_for(more):
    with pytest.raises(UserError, match="absolute positions"):
        MAE(MODEL, TINY | more, **DECODER)


@pytest.mark.parametrize(
    ("args", "decoder"),
    [({"img_size": [32, 16]}, {}), ({"embed_dim": 18}, {}), ({}, {"decoder_dim": 18}), ({}, {"decoder_heads": 3})],
)
def test_widths_and_shapes_without_sines_and_cosines(args, decoder):
    with pytest.raises(UserError, match="multiples of 4"):
        MAE(MODEL, TINY | args, **DECODER | decoder)


def test_beit_is_not_a_plain_vit():
    args = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2, "use_abs_pos_emb": True}
    with pytest.raises(UserError, match="absolute positions"):
        MAE("beit_base_patch16_224", args, **DECODER)


def test_pictures_of_another_size():
    with pytest.raises(UserError, match="32x32 pixels, not 40x40"):
        loss_of(module(), pictures(side=40))
