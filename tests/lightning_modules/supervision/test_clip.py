import math

import pytest
import torch
from open_clip.loss import ClipLoss
from torch.nn import functional as F

from lightning_modules.supervision.clip import CLIP, matching_loss
from tests.helpers.supervision import assert_backbone, fit
from tests.helpers.tiny_vit import MODEL, TINY
from visionscapes.errors import UserError

SMALL = {"embedding": 8, "text_width": 16, "text_depth": 1, "text_heads": 2, "context": 8, "vocabulary": 64}
CAPTIONS = ["a red car", "a blue dog", "a red car", "two cats on a mat", "a tree", "a red car"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(captions=CAPTIONS):
    return {"image": torch.rand(len(captions), 3, 32, 32, generator=generator()), "caption": list(captions)}


def features(count=6, width=5):
    return (F.normalize(torch.randn(count, width, generator=generator(seed)), dim=1) for seed in (1, 2))


def numbers(captions):
    return torch.tensor([[CAPTIONS.index(caption)] * 3 for caption in captions])


def naive(images, texts, scale, captions):
    """Return the loss, pair by pair; captions that are equal share a target."""
    total = 0.0
    for queries, keys in ((images, texts), (texts, images)):
        for i, query in enumerate(queries):
            scores = [scale * sum(a * b for a, b in zip(query, key, strict=True)) for key in keys]
            log_total = math.log(sum(map(math.exp, scores)))
            partners = [j for j in range(len(keys)) if captions[j] == captions[i]]
            total += sum(log_total - scores[j] for j in partners) / len(partners)
    return total / (2 * len(images))


@pytest.mark.parametrize("share", [False, True])
def test_loss_against_two_loops(share):
    images, texts = features()
    wanted = naive(images.tolist(), texts.tolist(), 9.0, CAPTIONS if share else range(6))
    found = matching_loss(images, texts, torch.tensor(9.0), numbers(CAPTIONS) if share else None)
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_loss_against_open_clip():
    images, texts = features()
    scale = torch.tensor(20.0)
    torch.testing.assert_close(matching_loss(images, texts, scale), ClipLoss()(images, texts, scale))


def test_loss_is_symmetric_in_pictures_and_captions():
    images, texts = features()
    captions, scale = numbers(CAPTIONS), torch.tensor(7.0)
    torch.testing.assert_close(
        matching_loss(images, texts, scale, captions), matching_loss(texts, images, scale, captions)
    )


def test_captions_that_all_differ_share_nothing():
    images, texts = features()
    scale, captions = torch.tensor(7.0), torch.arange(6)[:, None]
    torch.testing.assert_close(matching_loss(images, texts, scale, captions), matching_loss(images, texts, scale))


@pytest.mark.parametrize("share", [False, True])
def test_processes_share_their_features(share, monkeypatch):
    images, texts = features()
    captions, scale = numbers(CAPTIONS), torch.tensor(7.0)
    whole = matching_loss(images, texts, scale, captions if share else None)
    monkeypatch.setattr("lightly.utils.dist.world_size", lambda: 2)

    def gather(part):
        for rows in (captions, images, texts):
            for chunk in rows.chunk(2):
                if chunk.shape == part.shape and torch.equal(chunk, part):
                    return rows.chunk(2)
        raise AssertionError("something else was gathered")

    monkeypatch.setattr("lightly.utils.dist.gather", gather)
    parts = []
    for rank in range(2):
        monkeypatch.setattr("lightly.utils.dist.rank", lambda rank=rank: rank)
        own = [each.chunk(2)[rank] for each in (images, texts, captions)]
        parts.append(matching_loss(own[0], own[1], scale, own[2] if share else None))
    torch.testing.assert_close(sum(parts) / 2, whole)


def module(**more):
    torch.manual_seed(0)
    made = CLIP(MODEL, TINY, **SMALL | more)
    made.log = lambda *args, **kwargs: None
    return made


def test_a_step_is_the_loss_of_normalised_features():
    made, given = module(share_equal_captions=True).eval(), batch()
    images = F.normalize(made.projection(made.network(given["image"])[0]), dim=1)
    texts = F.normalize(made.text(made.tokenizer(CAPTIONS)), dim=1)
    wanted = naive(images.tolist(), texts.tolist(), 1 / 0.07, CAPTIONS)
    assert made.training_step(given, 0).item() == pytest.approx(wanted, rel=1e-4)


def test_text_is_read_at_its_end():
    text = module().eval().text
    rows = module().tokenizer(["a red car", "a red car", "a red bus"])
    rows[1, 5:] = 7  # behind the end, in place of padding
    with torch.no_grad():
        same, padded, other = text(rows)
    torch.testing.assert_close(same, padded)
    assert not torch.allclose(same, other)


def test_the_scale_never_exceeds_100():
    made = module()
    assert made.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    made.logit_scale.data.fill_(9.0)
    made.training_step(batch(), 0).backward()
    assert made.logit_scale.exp().item() == pytest.approx(100)
    assert made.logit_scale.grad is not None, "it can still come down"


def test_data_without_captions_say_what_to_do():
    with pytest.raises(UserError, match="--data=ImageCaptions"):
        module().training_step({"image": batch()["image"]}, 0)


def test_byte_pairs_of_clip_need_no_network():
    made = module(tokenizer="bpe", context=12)
    assert made.text.token_embedding.num_embeddings == 49408
    assert math.isfinite(made.training_step(batch(), 0).item())


def test_training_lowers_the_loss_and_leaves_plain_files(tmp_path):
    torch.manual_seed(0)
    captions = ["a red car", "a blue dog", "a tree", "two cats on a mat"]
    made, given = CLIP(MODEL, TINY, lr=5e-3, warmup=1, **SMALL), batch(captions)
    losses, checkpoint = fit(made, given, 8, tmp_path)
    assert losses[-1] < losses[0]
    assert checkpoint["hyper_parameters"]["tokenizer"] is None
    optimizer = made.trainer.optimizers[0]
    assert optimizer.defaults["betas"] == (0.9, 0.98)
    decays = {id(each): group["weight_decay"] for group in optimizer.param_groups for each in group["params"]}
    assert decays[id(made.logit_scale)] == 0
    assert decays[id(made.projection.weight)] == 0.2
    assert len(decays) == len(list(made.parameters()))
    assert_backbone(made, given["image"])


def test_a_width_that_heads_cannot_share():
    with pytest.raises(UserError, match="text_width is 12 and text_heads 5: it has to be a multiple"):
        module(text_width=12, text_heads=5)
