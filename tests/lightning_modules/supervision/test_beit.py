import random

import pytest
import torch
from pytorch_lightning import Callback, LightningDataModule, Trainer
from safetensors.torch import save_file
from torch.nn import functional as F

from callbacks.run.reproducible_steps import ReproducibleSteps
from datamodules.common.loading import train_loader
from lightning_modules.supervision.beit import BEiT, block_mask
from lightning_modules.supervision.visual_tokens import KMeansTokens, VisualTokens
from networks.vit_features import create_vit
from networks.weights import load_weights
from tests.helpers.tiny_vit import MODEL, TINY
from visionscapes.errors import UserError

SHARED = {
    **TINY,
    **{"use_shared_rel_pos_bias": True, "use_rel_pos_bias": False, "init_values": 0.1, "global_pool": "token"},
}
VITS = [(MODEL, TINY), ("beit_base_patch16_224", SHARED)]
STEPS = 120
both_vits = pytest.mark.parametrize(("model", "args"), VITS, ids=["vit", "beit"])


class Brightness(VisualTokens):
    """Ten steps of grey."""

    def __init__(self):
        super().__init__(10)

    def forward(self, images, grid):
        return (F.adaptive_avg_pool2d(images, grid).mean(1) * 10).long().clamp(0, 9)


def module(model=MODEL, args=TINY, tokenizer=None, **more):
    torch.manual_seed(0)
    made = BEiT(model, tokenizer or Brightness(), args, **{"min_block": 2} | more)
    made.log = lambda *args, **kwargs: None
    return made


def pictures(count=4, side=32, seed=1):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def loss_of(made, images):
    random.seed(5)  # of the masks
    return made.training_step({"image": images}, 0)


def masks(*args):
    random.seed(0)
    return block_mask(*args)


@pytest.mark.parametrize(
    ("grid", "ratio", "least", "share"), [((8, 8), 0.4, 5, 0.39), ((14, 14), 0.385, 16, 0.38), ((4, 6), 0.5, 2, 0.5)]
)
def test_every_picture_loses_its_share(grid, ratio, least, share):
    hidden = masks(200, grid, ratio, least)
    assert hidden.shape == (200, *grid)
    assert hidden.dtype == torch.bool
    counts = hidden.flatten(1).sum(1)
    most = int(ratio * grid[0] * grid[1])
    assert counts.max() <= most
    assert counts.min() >= 0.75 * most
    assert hidden.float().mean().item() == pytest.approx(share, abs=0.015)
    assert len(hidden.flatten(1).unique(dim=0)) > 170


def test_what_is_hidden_comes_in_blocks():
    """A hidden patch has hidden neighbours, which it would have 0.39 of the time if patches were drawn alone."""
    hidden = masks(200, (14, 14), 0.4, 16).float()
    beside, below = hidden[:, :, 1:] * hidden[:, :, :-1], hidden[:, 1:] * hidden[:, :-1]
    again = (beside.sum() + below.sum()) / (hidden[:, :, 1:].sum() + hidden[:, 1:].sum())
    assert again > 0.75
    windows = F.avg_pool2d(hidden[:, None], 3, 1)
    assert ((windows - 1).abs() < 1e-6).flatten(1).any(1).float().mean() > 0.95, "3 x 3 patches are hidden at once"
    assert hidden.mean(0).amin() > 0, "any place can be hidden, though corners seldom are"


@both_vits
def test_loss_against_patch_by_patch(model, args):
    made, images = module(model, args).eval(), pictures()
    random.seed(5)
    hidden = block_mask(4, (4, 4), 0.4, 2)
    features, terms = made.encode(images, hidden), []
    for b, row, column in hidden.nonzero().tolist():
        grey = int(10 * images[b, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].mean())
        terms.append(-made.head(features[b, row, column]).log_softmax(0)[grey])
    torch.testing.assert_close(loss_of(made, images), torch.stack(terms).mean())


@both_vits
def test_hidden_patches_are_not_seen_and_the_others_are(model, args):
    made, images = module(model, args).eval(), pictures(2)
    hidden = torch.zeros(2, 4, 4, dtype=torch.bool)
    hidden[0, 1:3, 2:] = hidden[1, :2, :3] = True
    pixels = hidden.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    with torch.no_grad():
        features = made.encode(images, hidden)
        assert torch.equal(made.encode(torch.where(pixels, pictures(2, seed=8), images), hidden), features)
        shown = made.encode(torch.where(pixels, images, pictures(2, seed=8)), hidden)
        assert (shown != features).flatten(1).any(1).all()
        made.mask_token.add_(1)
        assert (made.encode(images, hidden) != features).flatten(1).any(1).all()
    features = made.encode(images.requires_grad_(), hidden)
    features.square().sum().backward()
    assert torch.equal(images.grad.abs().sum(1, keepdim=True) > 0, ~pixels)


@both_vits
def test_with_nothing_hidden_it_is_the_vit_itself(model, args):
    made, images = module(model, args).eval(), pictures()
    with torch.no_grad():
        features = made.encode(images, torch.zeros(4, 4, 4, dtype=torch.bool))
        wanted = made.vit.forward_features(made.normalise(images))[:, 1:].unflatten(1, (4, 4))
    assert torch.equal(features, wanted)
    assert not made.vit.patch_embed._forward_hooks, "nothing is left behind"


@both_vits
def test_hidden_patches_know_their_place(model, args):
    """The mask token is the same everywhere; the positions are not, or it could not be told what to guess."""
    made = module(model, args).eval()
    with torch.no_grad():
        for name, each in made.vit.named_parameters():
            if "relative_position" in name or "gamma" in name:
                each.copy_(torch.randn_like(each))
        features = made.encode(pictures(1), torch.ones(1, 4, 4, dtype=torch.bool)).flatten(1, 2)[0]
    assert (torch.cdist(features, features) + torch.eye(16) > 1e-4).all()


@both_vits
def test_everything_that_is_trained_gets_a_gradient(model, args):
    made = module(model, args)
    loss_of(made, pictures()).backward()
    trained = {name: each for name, each in made.named_parameters() if each.requires_grad}
    assert [name for name, each in trained.items() if each.grad is None] == []
    assert made.mask_token.grad.any()


class World(LightningDataModule):
    """Eight smooth pictures in two batches an epoch, which it darkens itself on their way to the device."""

    def __init__(self):
        super().__init__()
        corners = torch.rand(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
        self.images = F.interpolate(corners, size=(32, 32), mode="bilinear", align_corners=True)

    def train_dataloader(self):
        return train_loader([{"image": image} for image in self.images], batch_size=4)

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return {"image": 0.5 * batch["image"]}


def codebook():
    return KMeansTokens(8, 12, samples=100, batches=2)


class StopAndSave(Callback):
    def __init__(self, steps, path):
        self.steps, self.path = steps, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.steps:
            trainer.should_stop = True
            if self.path:
                trainer.save_checkpoint(self.path)


def fit(model, args, steps=STEPS, tokenizer=None, ckpt_path=None, data=None, save=None):
    """Return the module and its losses after ``steps`` of ``STEPS`` steps."""
    made = module(model, args, tokenizer or codebook(), lr=8e-3, warmup=3)
    losses = []
    made.log = lambda name, value, **kwargs: losses.append(value.item()) if name == "train/loss" else None
    trainer = Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ReproducibleSteps(0), StopAndSave(steps, save)],
    )
    trainer.fit(made, datamodule=data or World(), ckpt_path=ckpt_path, weights_only=True if ckpt_path else None)
    return made, losses


@pytest.fixture(scope="module", params=VITS, ids=["vit", "beit"])
def trained(request, tmp_path_factory):
    model, args = request.param
    args = args | {"embed_dim": 32}
    path = tmp_path_factory.mktemp("beit") / "last.ckpt"
    made, losses = fit(model, args, save=path)
    return model, args, made, losses, path


def test_training_beats_the_frequencies_of_the_tokens(trained):
    _, _, made, losses, _ = trained
    shares = torch.bincount(made.tokenizer(0.5 * World().images, (4, 4)).flatten()) / 128
    entropy = -(shares[shares > 0] * shares[shares > 0].log()).sum().item()
    assert losses[0] > entropy > 1
    assert sum(losses[-5:]) / 5 < 0.75 * entropy


def test_tokens_are_learned_from_what_training_sees(trained):
    _, _, made, _, _ = trained
    alone = codebook()
    alone.learn(0.5 * batch["image"] for batch in World().train_dataloader())
    assert torch.equal(made.tokenizer.centres, alone.centres)


def test_learning_tokens_leaves_the_training_alone(trained):
    model, args, made, losses, _ = trained
    known = codebook()
    known.load_state_dict(made.tokenizer.state_dict())
    assert fit(model, args, 3, known)[1] == losses[:3]


def test_a_resumed_run_keeps_its_tokens(trained, tmp_path):
    model, args, _, losses, _ = trained
    begun, first = fit(model, args, 3, save=tmp_path / "last.ckpt")
    brighter = World()
    brighter.images = 1 - brighter.images
    elsewhere = fit(model, args, 4, data=brighter, ckpt_path=tmp_path / "last.ckpt")[0]
    assert torch.equal(elsewhere.tokenizer.centres, begun.tokenizer.centres)
    assert first + fit(model, args, 6, ckpt_path=tmp_path / "last.ckpt")[1] == losses[:6]


def test_the_checkpoint_needs_no_code_to_be_read(trained):
    _, _, made, _, path = trained
    content = torch.load(path, weights_only=True)
    assert "tokenizer" not in content["hyper_parameters"]
    again = BEiT.load_from_checkpoint(path, weights_only=True, tokenizer=codebook())
    assert again.tokenizer.learned
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in again.state_dict().items())


def test_what_is_kept_loads_strictly_and_is_what_was_trained(trained, tmp_path):
    model, args, made, _, _ = trained
    save_file(made.backbone_state(), tmp_path / "backbone.safetensors")
    kept = create_vit(model, None, args).eval()
    load_weights(kept, tmp_path / "backbone.safetensors")
    images = pictures()
    with torch.no_grad():
        shown = made.eval().encode(images, torch.zeros(4, 4, 4, dtype=torch.bool))
        tokens = kept.forward_features(made.normalise(images))
        torch.testing.assert_close(tokens[:, 1:].unflatten(1, (4, 4)), shown)


def test_what_decays(trained):
    model, _, made, _, _ = trained
    free = next(group for group in made.trainer.optimizers[0].param_groups if group["weight_decay"] == 0)
    names = {name for name, each in made.named_parameters() if any(each is other for other in free["params"])}
    assert {name for name in names if dict(made.named_parameters())[name].ndim > 1} == (
        {"vit.cls_token", "vit.pos_embed"} if model == MODEL else {"vit.cls_token"}
    )


def test_normalisation_is_that_of_the_arguments():
    images, hidden = pictures(), torch.zeros(4, 4, 4, dtype=torch.bool)
    half = module(mean=[0.5] * 3, std=[0.25] * 3).eval()
    plain = module(mean=[0.0] * 3, std=[1.0] * 3).eval()
    with torch.no_grad():
        torch.testing.assert_close(half.encode(images, hidden), plain.encode((images - 0.5) / 0.25, hidden))


@both_vits
def test_half_precision(model, args):
    made = module(model, args)
    with torch.autocast("cpu", torch.bfloat16):
        half = loss_of(made, pictures())
    assert half.item() == pytest.approx(loss_of(made, pictures()).item(), rel=0.05)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mask_ratio": 0.0}, "mask_ratio is 0.0; it has to be above 0 and below 1"),
        ({"mask_ratio": 1.0}, "mask_ratio is 1.0; it has to be above 0 and below 1"),
        ({"min_block": 7}, "no block of 7"),
        ({"min_block": 0}, "min_block is 0; it has to be at least 1"),
    ],
)
def test_masks_that_cannot_be(more, message):
    with pytest.raises(UserError, match=message):
        module(**more)


def test_a_vit_without_a_last_norm():
    with pytest.raises(UserError, match="global_pool=token"):
        module("beit_base_patch16_224", SHARED | {"global_pool": "avg"})


def test_pictures_of_another_size():
    with pytest.raises(UserError, match="32x32 pixels, not 40x40"):
        loss_of(module(), pictures(side=40))
