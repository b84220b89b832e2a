import pytest
import torch
from pytorch_lightning import Trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader

from lightning_modules.lift.module import LiFT, fingerprint
from networks.dense import HasDenseFeatures
from networks.lift_block import LiFTBlock
from networks.vit_features import ViTFeatures
from tests.helpers.tiny_vit import TINY_64
from tests.networks.test_lift_block import official
from visionscapes.errors import UserError

pytestmark = [
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but"),
]
VIT = TINY_64 | {"patch_size": 8}


def backbone(seed=0, **options) -> ViTFeatures:
    torch.manual_seed(seed)
    return ViTFeatures("vit_tiny_patch16_224", weights=None, model_args=VIT, **options)


def lift(seed=0, **options) -> LiFT:
    vit = backbone()
    torch.manual_seed(seed)
    return LiFT(vit, **options)


def batch(size=64, count=2, task="images"):
    return {"task": task, "image": torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(size))}


def trainer(tmp_path, **options) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=tmp_path, **quiet, **options)


def loader(size=64, batches=3, batch_size=2):
    images = torch.rand(batches * batch_size, 3, size, size, generator=torch.Generator().manual_seed(1))
    return DataLoader(images, batch_size=batch_size, collate_fn=lambda x: {"task": "images", "image": torch.stack(x)})


def one_minus_cosine(prediction, target):
    norms = prediction.norm(dim=1) * target.norm(dim=1)
    return (1 - (prediction * target).sum(1) / norms).mean()


@pytest.mark.parametrize("distance", ["cosine", "l1", "l2"])
@pytest.mark.parametrize("downscale", ["antialias", "decimate"])
def test_objective_is_equation_8_1(distance, downscale):
    """d(g1, f1) + d(g2, f2), written out from the thesis."""
    module = lift(distance=distance, downscale=downscale)
    x = batch()["image"]
    if downscale == "decimate":
        x_half, x_quarter = x[:, :, ::2, ::2], x[:, :, ::4, ::4]
    else:
        x_half, x_quarter = (
            F.interpolate(x, scale_factor=1 / k, mode="bilinear", align_corners=False, antialias=True) for k in (2, 4)
        )
    vit, block = module.backbone, module.block
    f1, f2, f3 = vit(x), vit(x_half), vit(x_quarter)
    g1, g2 = block(f2, (x_half - vit.mean) / vit.std), block(f3, (x_quarter - vit.mean) / vit.std)
    d = {
        "cosine": one_minus_cosine,
        "l1": lambda a, b: (a - b).abs().mean(),
        "l2": lambda a, b: (a - b).square().mean(),
    }[distance]
    torch.testing.assert_close(module.training_step(batch(), 0), d(g1, f1) + d(g2, f2))


def test_gradients_reach_the_block_only():
    module = lift().train()
    module.training_step(batch(), 0).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.block.parameters() if p.ndim > 1)
    assert all(p.grad is None for p in module.backbone.parameters())
    assert not module.backbone.vit.training
    optimised = {id(p) for group in module.configure_optimizers().param_groups for p in group["params"]}
    assert optimised == {id(p) for p in module.block.effective_parameters()}


def test_the_output_does_not_depend_on_the_parameters_that_are_not_trained():
    block = lift().block.train()
    trained = {id(parameter) for parameter in block.effective_parameters()}
    rest = [parameter for parameter in block.parameters() if id(parameter) not in trained]
    features, image = torch.rand(2, block.dim, 4, 4), torch.rand(2, 3, 32, 32)
    before = block(features, image)
    with torch.no_grad():
        for parameter in rest:
            parameter.add_(3.0)
    assert sum(parameter.numel() for parameter in rest) == 96
    torch.testing.assert_close(block(features, image), before)


@pytest.mark.parametrize("size", [67, 72, 90, 94])
@pytest.mark.parametrize("downscale", ["antialias", "decimate"])
def test_sizes_that_are_no_multiples(size, downscale):
    module = lift(downscale=downscale)
    assert torch.isfinite(module.reconstruction(module.views(batch(size)["image"])))


def test_overfits_one_batch():
    module = lift().train()
    optimiser, losses = module.configure_optimizers(), []
    for _ in range(40):
        optimiser.zero_grad()
        losses.append(module.training_step(batch(), 0))
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("distance", ["cosine", "l1", "l2"])
def test_bf16_autocast(distance):
    module = lift(distance=distance)
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(batch(), 0)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, module.training_step(batch(), 0), atol=0, rtol=0.02)


def test_held_out_loss_and_its_bilinear_baseline(tmp_path):
    module = lift()
    run = trainer(tmp_path)
    with torch.no_grad():
        losses = [module.eval().reconstruction(module.views(b["image"])) for b in loader()]
    measured = run.validate(module, loader(), verbose=False)[0]
    assert measured["val/loss"] == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)
    baseline = 0.0
    for b in loader():
        f = [module.backbone(b["image"])] + [module.backbone(module.downscale(b["image"], k)) for k in (2, 4)]
        for coarse, fine in ((f[1], f[0]), (f[2], f[1])):
            enlarged = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
            baseline += float(one_minus_cosine(enlarged, fine)) / 3
    assert measured["val/loss_bilinear"] == pytest.approx(baseline, rel=1e-5)
    assert run.test(module, loader(), verbose=False)[0]["test/loss"] == pytest.approx(measured["val/loss"])


def test_other_tasks_are_left_to_the_callbacks():
    module = lift()
    assert module.validation_step(batch(task="video"), 0) is None
    assert module.test_step(batch(task="video"), 0) is None


def test_training_resumes_from_a_checkpoint_without_backbone(tmp_path):
    module = lift()
    run = trainer(tmp_path, max_epochs=1, enable_checkpointing=False)
    run.fit(module, loader())
    path = tmp_path / "lift.ckpt"
    run.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    assert all(key.startswith("block.") for key in content["state_dict"])
    assert path.stat().st_size < 4.5 * sum(p.numel() * 4 for p in module.block.parameters())  # weights, 2 moments
    resumed = lift(seed=5)
    again = trainer(tmp_path, max_epochs=2, enable_checkpointing=False)
    again.fit(resumed, loader(), ckpt_path=path, weights_only=True)
    assert again.global_step == 6
    assert fingerprint(resumed.backbone) == fingerprint(module.backbone)
    assert not torch.equal(resumed.block.out.weight, module.block.out.weight)


@pytest.mark.parametrize("other", [{"seed": 1}, {"layer": 0}, {"facet": "token"}], ids=["weights", "layer", "facet"])
def test_checkpoint_of_another_backbone_is_a_user_error(other):
    checkpoint = {"state_dict": lift().state_dict()}
    lift().on_save_checkpoint(checkpoint)
    module = LiFT(backbone(**other))
    with pytest.raises(UserError, match=r"another backbone.*--model\.weights"):
        module.on_load_checkpoint(checkpoint)


def test_checkpoint_of_another_method_is_a_user_error():
    with pytest.raises(UserError, match="another method"):
        lift().on_load_checkpoint({"state_dict": {"layer.weight": torch.zeros(1)}})


def test_fingerprint_depends_on_what_shapes_the_features():
    assert fingerprint(backbone()) == fingerprint(backbone())
    others = [backbone(seed=1), backbone(layer=0), backbone(facet="value")]
    assert all(fingerprint(other) != fingerprint(backbone()) for other in others)


@pytest.mark.parametrize("kind", ["checkpoint", "bare", "official"])
def test_weights_to_start_from(tmp_path, kind):
    path = tmp_path / "weights.pth"
    if kind == "official":
        state = official(64, 8).state_dict()
        torch.save(state, path)
        expected = LiFTBlock(64, 8)
        expected.load_official(state)
    else:
        trained = lift(seed=3)
        expected = trained.block
        checkpoint = {"state_dict": trained.state_dict()}
        trained.on_save_checkpoint(checkpoint)
        torch.save(checkpoint if kind == "checkpoint" else expected.state_dict(), path)
    module = LiFT(backbone(seed=9), weights=str(path))
    own, wanted = module.block.state_dict(), expected.state_dict()
    assert all(torch.equal(own[key], wanted[key]) for key in wanted)


def test_weights_that_do_not_fit_are_a_user_error(tmp_path):
    torch.save(official(32, 8).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(UserError, match="64 channels"):
        lift(weights=str(tmp_path / "weights.pth"))
    with pytest.raises(UserError, match="no weights at"):
        lift(weights=str(tmp_path / "nowhere.pth"))


def test_dense_features_to_compare():
    module = lift(seed=1).eval()
    assert isinstance(module, HasDenseFeatures)
    offered = module.dense_features()
    image = batch(48, 1)["image"]
    with torch.no_grad():
        maps = {name: net(image) for name, net in offered.items()}
    sides = {name: value.shape[-1] for name, value in maps.items()}
    assert sides == {"base": 6, "bilinear": 12, "random LiFT": 12, "LiFT": 12, "2x LiFT": 24, "ViT at 2S": 12}
    assert not torch.allclose(maps["LiFT"], maps["random LiFT"])
    again = lift(seed=7).eval().dense_features()["random LiFT"]
    torch.testing.assert_close(again(image), maps["random LiFT"])  # the same for every seed, trained or not
    torch.testing.assert_close(module.predict_step({"image": image}, 0), maps["LiFT"])


def test_without_image_and_with_a_stride():
    module = lift(use_image=False)
    assert not hasattr(module.block, "stem")
    strided = LiFT(backbone(stride=4))
    assert strided.predict_step(batch(32), 0).shape[-1] == 14
    assert torch.isfinite(strided.reconstruction(strided.views(batch()["image"])))


def test_learning_rate_has_to_be_positive():
    with pytest.raises(UserError, match=r"LiFT\.lr is 0\.0"):
        lift(lr=0.0)
