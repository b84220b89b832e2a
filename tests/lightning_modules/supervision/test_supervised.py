import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lightning_modules.supervision.supervised import Supervised
from tests.helpers.supervision import assert_backbone, fit
from tests.helpers.tiny_vit import MODEL, TINY
from visionscapes.errors import UserError


def batch(count=6, classes=3):
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return {"task": "images", "image": images, "label": torch.arange(count) % classes, "index": torch.arange(count)}


def module(**more):
    torch.manual_seed(0)
    made = Supervised(MODEL, 3, TINY, **({"mixup": 0.0} | more)).eval()
    made.log = lambda *args, **kwargs: None
    torch.nn.init.normal_(made.head.weight, std=0.5)
    return made


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_loss_against_its_definition(smoothing):
    made, given = module(label_smoothing=smoothing), batch()
    wanted = 0.0
    for logits, label in zip(made(given["image"]).tolist(), given["label"].tolist(), strict=True):
        total = math.log(sum(map(math.exp, logits)))
        for k, logit in enumerate(logits):
            share = smoothing / 3 + (1 - smoothing) * (k == label)
            wanted += share * (total - logit) / 6
    assert made.training_step(given, 0).item() == pytest.approx(wanted, rel=1e-5)


def test_mixup_mixes_pictures_and_targets_alike():
    made, given = module(mixup=0.4, label_smoothing=0.1), batch()
    before = given["image"].clone()
    np.random.seed(3)
    share = np.random.beta(0.4, 0.4) if np.random.rand() < 1 else None  # what Mixup draws
    images = share * before + (1 - share) * before.flip(0)
    logs = F.log_softmax(made(images), 1)
    target = 0.9 * F.one_hot(given["label"], 3) + 0.1 / 3
    target = share * target + (1 - share) * target.flip(0)
    np.random.seed(3)
    assert made.training_step(given, 0).item() == pytest.approx(-(target * logs).sum(1).mean().item(), rel=1e-5)
    assert torch.equal(given["image"], before), "the batch is left alone"


def test_a_new_head_knows_nothing():
    made = Supervised(MODEL, 3, TINY, mixup=0.0)
    made.log = lambda *args, **kwargs: None
    assert made.training_step(batch(), 0).item() == pytest.approx(math.log(3))


def test_drop_path_grows_with_depth():
    made = Supervised(MODEL, 3, TINY | {"depth": 3}, drop_path=0.2)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in made.network.vit.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("change", "more", "says"),
    [
        ({"label": torch.tensor([0, 1, -1, -1, 2, 0])}, {}, "2 of 6 pictures.*no label"),
        ({"label": torch.tensor([0, 1, 2, 0, 7, 0])}, {}, "label 7 does not fit 3 classes.*classes=8"),
        ({"label": torch.tensor([0, 1, 2])}, {"mixup": 0.2}, "there are 3.*batch_size even"),
        (None, {}, "needs labels.*--data=ImageNet"),
    ],
)
def test_wrong_labels_say_what_to_do(change, more, says):
    given = {"image": batch()["image"]} if change is None else batch() | change
    with pytest.raises(UserError, match=says):
        module(**more).check_labels(given)


def test_labels_are_checked_before_a_batch_leaves_the_cpu(tmp_path):
    with pytest.raises(UserError, match="label 7 does not fit 3 classes"):
        fit(Supervised(MODEL, 3, TINY, mixup=0.0), batch() | {"label": torch.tensor([0, 1, 2, 0, 7, 0])}, 1, tmp_path)


@pytest.mark.parametrize("bad", [{"classes": 1}, {"mixup": -0.1}, {"label_smoothing": 1.0}])
def test_wrong_arguments(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        Supervised(**{"model": MODEL, "classes": 3, "model_args": TINY} | bad)


def test_training_lowers_the_loss_and_leaves_plain_files(tmp_path):
    torch.manual_seed(0)
    made, given = Supervised(MODEL, 3, TINY, mixup=0.0, lr=5e-3, warmup=1), batch()
    losses, checkpoint = fit(made, given, 6, tmp_path)
    assert losses[-1] < losses[0]
    assert checkpoint["hyper_parameters"]["classes"] == 3
    groups = made.trainer.optimizers[0].param_groups
    decays = {id(each): group["weight_decay"] for group in groups for each in group["params"]}
    assert {decays[id(each)] for each in made.parameters() if each.ndim > 1} == {0.05}
    assert {decays[id(each)] for each in made.parameters() if each.ndim <= 1} == {0.0}
    assert_backbone(made, given["image"])


def test_validation_scores_labelled_pictures_and_passes_over_the_rest():
    made, given = module(), batch()
    logged = []
    made.log = lambda name, value, **_: logged.append((name, value))
    said = made(given["image"]).argmax(1)
    right = torch.where(torch.arange(6) < 3, said, (said + 1) % 3)  # half of them
    for dataset, other in enumerate(
        [
            {"task": "video", "frames": torch.rand(1)},
            {"task": "images", "image": given["image"]},
            given | {"label": torch.full((6,), -1)},
            given | {"label": torch.where(torch.arange(6) == 5, -1, right)},
        ]
    ):
        made.validation_step(other, 0, dataset)
    assert [name for name, _ in logged] == ["val/accuracy"]
    assert logged[0][1].compute().item() == pytest.approx(3 / 5), "the one without a label does not count"
