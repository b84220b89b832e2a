import math

import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.syncnet.loss import pair_loss
from lightning_modules.syncnet.module import SyncNet
from networks.sync_network import SyncNetwork
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.talking_clips import TalkingClips, talking, windows
from visionscapes.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*exists and is not empty")


def module(seed=0, network=None, **options):
    torch.manual_seed(seed)
    given = {"image_size": 24, "width": 4, "residuals": 1} | (network or {})
    return SyncNet(SyncNetwork(**given), **options)


FREE = {"nonnegative": False, "probability": "sigmoid"}


def test_a_pair_is_the_sound_of_a_window_with_its_own_frames_or_those_of_the_next():
    made, batch = module().eval(), windows(0, clips=3, count=2)
    torch.manual_seed(3)
    together = torch.rand(3) < 0.5
    shown = torch.stack([batch["faces"][k, 0 if own else 1] for k, own in enumerate(together)])
    wanted = pair_loss(made.network.logit(made.network(shown, batch["mel"][:, 0])), together)
    torch.manual_seed(3)
    torch.testing.assert_close(made.pairs_of_windows(batch["faces"], batch["mel"]), wanted)


def test_more_windows_make_more_pairs_of_one_clip_each():
    """Six windows are three pairs; the last of seven is left out."""
    made, seen = module(), []
    made.embed = lambda faces, mel: seen.append((faces, mel)) or SyncNet.embed(made, faces, mel)
    batch = windows(0, clips=2, count=7)
    torch.manual_seed(0)
    made.pairs_of_windows(batch["faces"], batch["mel"])
    faces, mel = seen[0]
    assert len(faces) == len(mel) == 6
    assert torch.equal(mel, batch["mel"][:, 0:6:2].flatten(0, 1))
    own, other = batch["faces"][:, 0:6:2].flatten(0, 1), batch["faces"][:, 1:6:2].flatten(0, 1)
    for picture, first, second in zip(faces, own, other, strict=True):
        assert torch.equal(picture, first) or torch.equal(picture, second)


def test_one_window_a_clip_cannot_be_compared():
    with pytest.raises(UserError, match="one window of each"):
        module().training_step(windows(0, count=1), 0)


def test_the_contrastive_start_ends_after_its_steps(tmp_path):
    made = module(objective="contrastive_then_pair", contrastive_steps=3)
    phases = []
    for name in ("moments_of_clips", "pairs_of_windows"):
        plain = getattr(made, name)
        setattr(made, name, lambda faces, mel, name=name, plain=plain: phases.append(name) or plain(faces, mel))
    quiet_trainer(tmp_path, [], max_epochs=3).fit(made, datamodule=TalkingClips(batches=2))
    assert phases == ["moments_of_clips"] * 3 + ["pairs_of_windows"] * 3


def test_every_parameter_takes_part_in_every_phase():
    """Several processes need that."""
    batch = windows(0)
    for objective in ("pair", "contrastive", "contrastive_then_pair"):
        made = module(objective=objective, network=FREE)
        losses = [made.pairs_of_windows] if objective == "pair" else [made.moments_of_clips]
        losses += [made.pairs_of_windows] * (objective == "contrastive_then_pair")
        for loss in losses:
            made.zero_grad()
            loss(batch["faces"], batch["mel"]).backward()
            assert [name for name, weight in made.named_parameters() if weight.grad is None] == []


def test_the_probabilities_learn_in_the_contrastive_phase_without_moving_the_embeddings():
    made, batch = module(objective="contrastive", network=FREE), windows(0)
    plain = module(objective="contrastive", network={"nonnegative": False, "probability": "half"})
    for each in (made, plain):
        each.moments_of_clips(batch["faces"], batch["mel"]).backward()
    assert made.network.shift.grad != 0
    theirs = dict(plain.network.named_parameters())
    for name, weight in made.network.named_parameters():
        if name in theirs:
            torch.testing.assert_close(weight.grad, theirs[name].grad)


@pytest.mark.slow
def test_a_short_contrastive_training_tells_moments_apart_and_logs_it(tmp_path):
    made = module(objective="contrastive_then_pair", contrastive_steps=60, lr=1e-3, network=FREE | {"norm": "group"})
    data = TalkingClips(batches=10, clips=4, count=8)
    trainer = quiet_trainer(tmp_path, [], max_epochs=7, check_val_every_n_epoch=7)
    trainer.fit(made, datamodule=data)
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert {"train/loss", "val/bce", "val/accuracy", "val/auc", "val/auc_error"} <= figures.keys()
    assert figures["val/auc"] > 0.8
    assert figures["val/accuracy"] > 0.7
    assert figures["val/bce"] < math.log(2)


def test_held_out_figures_are_those_of_the_pairs():
    made = module().eval()
    clip = made.validation_step(talking(1), 0)
    assert clip.video.shape == (36, 64)
    assert made.validation_step({"task": "sync"}, 0) is None
    assert made.pairs.compute()["AUC"].count == 1


def test_prediction_needs_a_trained_network(tmp_path):
    with pytest.raises(UserError, match="this SyncNet is untrained"):
        quiet_trainer(tmp_path, []).predict(module(), datamodule=TalkingClips())


def test_weights_are_taken_from_our_files_and_from_checkpoints(tmp_path):
    made = module(seed=1)
    save_file(made.backbone_state(), tmp_path / "a.safetensors")
    torch.save({"state_dict": made.state_dict()}, tmp_path / "b.ckpt")
    for name in ("a.safetensors", "b.ckpt"):
        read = module(weights=str(tmp_path / name))
        assert all(torch.equal(value, made.state_dict()[key]) for key, value in read.state_dict().items())
    outputs = quiet_trainer(tmp_path, []).predict(
        module(weights=str(tmp_path / "a.safetensors")), datamodule=TalkingClips()
    )
    assert [clip.name for clip in outputs] == ["clip 7000", "clip 7001", "clip 7002"]


def test_biases_before_a_batch_norm_stay_where_they_are(tmp_path):
    made = module(lr=1e-2)
    before = made.network.faces[1].conv.bias.clone()
    quiet_trainer(tmp_path, [], max_steps=2).fit(made, datamodule=TalkingClips())
    assert torch.equal(made.network.faces[1].conv.bias, before)


def test_the_rate_is_constant_or_follows_a_cosine(tmp_path):
    constant = module().configure_optimizers()
    assert isinstance(constant, torch.optim.AdamW)
    falling = module(lr=1e-2, lr_floor=0.1)
    trainer = quiet_trainer(tmp_path, [], max_epochs=4)
    trainer.fit(falling, datamodule=TalkingClips())
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-3)
