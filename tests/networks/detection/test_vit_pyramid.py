import functools
import random
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import box_iou

from lightning_modules import LiFT
from networks.detection.build import build_detector, setup_mmdet
from networks.detection.samples import preprocess, proposals_of, to_samples
from networks.lift_block import LiFTBlock
from networks.vit_features import ViTFeatures
from tests.helpers.drawn_detection import drawn_batch, losses_of, predicted, total_of, without_gradient
from tests.helpers.tiny_vit import TINY_DETECTOR as VIT
from visionscapes.errors import UserError

ONE, OTHER = [(14, 20, 52, 48, 0)], [(50, 10, 92, 58, 1)]
SIZE = (64, 96)
STRIDES = {None: [4, 8, 16, 32, 64], "halve_strides": [2, 4, 8, 16, 32], "keep_strides": [4, 8, 16, 32, 64]}
untrained = pytest.mark.filterwarnings("ignore:.*frozen at random values")
variants = pytest.mark.parametrize("base", list(STRIDES))


def build(base=None, **changes):
    """Return the detector of a published config, made small; ``base`` is None without LiFT."""
    torch.manual_seed(0)
    overrides = {
        **{f"backbone.{key}": value for key, value in VIT.items()},
        "backbone.weights": None,
        "backbone.frozen": False,
        "neck.out_channels": 16,
        "rpn_head.in_channels": 16,
        "rpn_head.feat_channels": 16,
        "roi_head.bbox_head.fc_out_channels": 32,
        "roi_head.mask_head.num_convs": 1,
        "train_cfg.rpn_proposal.max_per_img": 40,
        "test_cfg.rpn.max_per_img": 20,
        "train_cfg.rpn.sampler.num": 64,
        "train_cfg.rcnn.sampler.num": 16,
    }
    for part in ("bbox", "mask"):
        overrides[f"roi_head.{part}_roi_extractor.out_channels"] = 16
        overrides[f"roi_head.{part}_head.in_channels"] = overrides[f"roi_head.{part}_head.conv_out_channels"] = 16
    if base is not None:
        overrides |= {"pyramid_base": base, "backbone.lift.frozen": False}
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    name = "vitdet" if base is None else "vitdet_lift"
    return build_detector(f"configs/detectors/{name}.py", overrides | changes, num_classes=2)


shared = functools.cache(build)


@pytest.fixture
def module():
    setup_mmdet()
    from networks.detection import timm_vit, vit_pyramid

    return {**vars(timm_vit), **vars(vit_pyramid)}


@variants
def test_every_stride_follows_from_backbone_and_neck(base):
    detector, strides = shared(base), STRIDES[base]
    assert detector.neck.strides == strides
    assert [stride for stride, _ in detector.rpn_head.prior_generator.strides] == strides
    for extractor in (detector.roi_head.bbox_roi_extractor, detector.roi_head.mask_roi_extractor):
        assert extractor.featmap_strides == strides[:-1]
        assert [layer.spatial_scale for layer in extractor.roi_layers] == [1 / stride for stride in strides[:-1]]
    # As in FPN, RoIs of 224 pixels are the first that are pooled from the third level; half of that on half strides.
    side = 56 * strides[0]
    rois = torch.tensor([[0, 0, 0, side - 1, side - 1], [0, 0, 0, side + 1, side + 1]], dtype=torch.float32)
    assert detector.roi_head.bbox_roi_extractor.map_roi_levels(rois, 4).tolist() == [1, 2]
    images, _ = preprocess(detector, *padded_case(), training=False)
    assert images.shape[2] % 32 == images.shape[3] % 32 == 0 or base == "halve_strides"
    for level, stride in zip(detector.extract_feat(images), strides, strict=True):
        assert [-(-side // stride) for side in images.shape[2:]] == list(level.shape[2:])


@pytest.mark.parametrize(
    ("base", "strides", "sides"),
    [
        (None, [4, 8, 16, 32], [16, 8, 4, 2]),
        ("halve_strides", [2, 4, 8, 16], [32, 16, 8, 4]),  # a map of 16 x 16 cells; the scales 2, 1 and 1/2 of it
        ("keep_strides", [4, 8, 16, 32], [16, 8, 4, 2]),  # the scales 1, 1/2 and 1/4
    ],
)
@untrained
def test_the_small_detector_of_the_scenes(base, strides, sides):
    """A picture of 64 pixels, of which a ViT of patch 8 has a map of 8 x 8 cells."""
    name = "vitdet_scenes" if base is None else "vitdet_lift_scenes"
    overrides = {} if base is None else {"pyramid_base": base}
    detector = build_detector(f"configs/detectors/{name}.py", overrides).eval()
    assert detector.neck.strides == strides
    for extractor in (detector.roi_head.bbox_roi_extractor, detector.roi_head.mask_roi_extractor):
        assert extractor.featmap_strides == strides[:-1]
    with torch.no_grad():
        assert [list(level.shape) for level in detector.extract_feat(torch.zeros(2, 3, 64, 64))] == [
            [2, 32, side, side] for side in sides
        ]
    images, _ = preprocess(
        detector, [torch.full((3, 64, 64), 255, dtype=torch.uint8)], to_samples(drawn_batch([ONE], (64, 64))), False
    )
    white = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])  # as its ViT has learned
    torch.testing.assert_close(images[0, :, 0, 0], white, atol=1e-3, rtol=0)


def padded_case():
    batch = drawn_batch([ONE], (70, 90))
    return batch["image"], to_samples(batch)


@variants
def test_anchors_lie_where_their_features_look(base):
    detector = build(base).eval()
    for block in detector.backbone.vit.blocks:  # without attention a patch has an effect at its own place only
        nn.init.zeros_(block.attn.proj.weight)
    image = torch.zeros(1, 3, 128, 192)
    with torch.no_grad():
        plain = detector.extract_feat(image)
        anchors = detector.rpn_head.prior_generator.grid_priors([level.shape[2:] for level in plain], device="cpu")
        for row, column in ((3, 2), (4, 9), (5, 4)):
            changed = image.clone()
            changed[..., 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 3
            for level, before, priors in zip(detector.extract_feat(changed)[:3], plain, anchors, strict=False):
                places = (level - before).abs().sum(1).flatten().nonzero()
                centres = (priors[3 * places, :2] + priors[3 * places, 2:]).flatten(0, 1) / 2
                stride = 128 // level.shape[2]  # anchors sit at the corners of their cells
                middle = (centres.amin(0) + centres.amax(0) + stride) / 2
                assert (middle - torch.tensor([16 * column + 8, 16 * row + 8])).abs().max() <= max(16, stride / 2)


def test_the_pyramid_equals_its_definition(module):
    pyramid = module["SimpleFeaturePyramid"](8, 16, [4, 2, 1, 0.5, 0.25], out_channels=6).eval()
    features = torch.randn(2, 8, 4, 8)

    def layer_norm(x, norm):
        return F.layer_norm(x.movedim(1, -1), x.shape[1:2], norm.weight, norm.bias, 1e-6).movedim(-1, 1)

    def convolved(x, level):
        pointwise, first, spatial, second = list(level)[-4:]
        return layer_norm(F.conv2d(layer_norm(F.conv2d(x, pointwise.weight), first), spatial.weight, padding=1), second)

    for parameter in pyramid.parameters():
        nn.init.normal_(parameter)
    up4, up2, up1, down2, down4 = pyramid.levels.values()
    raised = F.conv_transpose2d(features, up4[0].weight, up4[0].bias, stride=2)
    raised = F.conv_transpose2d(F.gelu(layer_norm(raised, up4[1])), up4[3].weight, up4[3].bias, stride=2)
    expected = [
        convolved(raised, up4),
        convolved(F.conv_transpose2d(features, up2[0].weight, up2[0].bias, stride=2), up2),
        convolved(features, up1),
        convolved(F.max_pool2d(features, 2), down2),
        convolved(F.max_pool2d(features, 4), down4),
    ]
    expected.append(expected[-1][..., ::2, ::2])
    found = pyramid((features,))
    assert pyramid.strides == [4, 8, 16, 32, 64, 128]
    for level, wanted in zip(found, expected, strict=True):
        assert torch.allclose(level, wanted, atol=1e-4)
    assert raised.shape[1] == 8 // 4


def test_pictures_are_normalised_and_padded_as_the_vit_takes_them():
    # This variant of the ViT was trained with mean and deviation 1/2.
    detector = shared()
    images, _ = preprocess(detector, *padded_case(), training=False)
    assert images.shape == (1, 3, 96, 96)
    wanted = (padded_case()[0][0].float() / 255 - 0.5) / 0.5  # RGB again
    assert torch.allclose(images[0, :, :70, :90], wanted, atol=1e-5)


def test_building_keeps_the_weights_of_vit_and_lift(module, tmp_path):
    torch.manual_seed(3)
    block = LiFTBlock(32, 16)
    vit = module["TimmViT"](**VIT).vit
    with torch.no_grad():
        vit.blocks[0].mlp.fc1.bias.fill_(0.25)
    full = ViTFeatures(**VIT, weights=None).vit  # with the final norm, as files of timm have it
    torch.save({**full.state_dict(), **vit.state_dict()}, tmp_path / "vit.pth")
    torch.save(
        {"state_dict": {f"block.{key}": value for key, value in block.state_dict().items()}}, tmp_path / "l.ckpt"
    )
    detector = build(
        "halve_strides",
        backbone__weights=str(tmp_path / "vit.pth"),
        backbone__lift={"weights": str(tmp_path / "l.ckpt")},
    )
    assert detector.backbone.loaded
    assert not shared("halve_strides").backbone.loaded
    for own, given in ((detector.backbone.vit, vit), (detector.backbone.lift, block)):
        state = given.state_dict()
        assert own.state_dict().keys() == state.keys()
        assert all(torch.equal(value, state[key]) for key, value in own.state_dict().items())
    torch.save(LiFTBlock(16, 16).state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"does not fit LiFTBlock.* for 32 channels"):
        build("halve_strides", backbone__lift={"weights": str(tmp_path / "other.pth")})


def test_a_lift_block_of_another_vit_is_told(tmp_path):
    one, other = (ViTFeatures(**VIT, weights=None) for _ in range(2))
    torch.save(one.vit.state_dict(), tmp_path / "vit.pth")
    for name, vit in (("own", one), ("foreign", other)):
        lift = LiFT(vit)
        checkpoint = {"state_dict": lift.state_dict()}
        lift.on_save_checkpoint(checkpoint)
        torch.save(checkpoint, tmp_path / f"{name}.ckpt")

    def build_with(name):
        lift = {"weights": str(tmp_path / f"{name}.ckpt")}
        build("halve_strides", backbone__weights=str(tmp_path / "vit.pth"), backbone__lift=lift)

    with pytest.warns(UserWarning, match=r"foreign\.ckpt' learned from another ViT than that of this detector"):
        build_with("foreign")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*another ViT")
        build_with("own")


def test_a_detector_trained_without_lift_takes_it_without_fine_tuning():
    plain, lifted = shared().state_dict(), shared("halve_strides").state_dict()
    names = {name for name in lifted if not name.startswith("backbone.lift.")}
    assert names == plain.keys()
    assert all(lifted[name].shape == plain[name].shape for name in names)
    assert shared("keep_strides").state_dict().keys() - lifted.keys() == {
        name for name in shared("keep_strides").state_dict() if name.startswith("neck.levels.down4.")
    }


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("pictures", [[ONE, OTHER], [[], []]])
@pytest.mark.parametrize("base", [None, "halve_strides"])
def test_a_step_reaches_every_parameter_whatever_the_pictures_show(base, pictures, bf16):
    detector, batch = shared(base), drawn_batch(pictures, SIZE)
    detector.zero_grad()
    total = total_of(losses_of(detector, batch, bf16))
    total.backward()
    assert torch.isfinite(total)
    assert without_gradient(detector) == []
    detector.test_cfg.rcnn.score_thr = 0.0
    for found in predicted(detector, batch, bf16):
        assert found["boxes"].dtype == torch.float32
        assert len(found["masks"]) == len(found["boxes"]) > 0


@untrained
def test_frozen_parts_stay_as_they_are():
    detector = build("halve_strides", backbone__frozen=True, backbone__lift={"frozen": True}, neck__frozen=True)
    detector.train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    assert not detector.backbone.vit.training
    assert not detector.backbone.lift.training
    total_of(losses_of(detector, drawn_batch([ONE], SIZE))).backward()
    learning = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    torch.optim.SGD(learning, 0.1).step()
    changed = {
        name.split(".")[0] for name, value in detector.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"rpn_head", "roi_head"}
    only_vit = build("halve_strides", backbone__frozen=True).train()
    assert {name.split(".")[0] for name, p in only_vit.backbone.named_parameters() if p.requires_grad} == {"lift"}
    assert only_vit.backbone.lift.training


def test_bfloat16_does_not_round_anchors():
    detector = shared().eval()
    weights = [parameter.detach().clone() for parameter in detector.rpn_head.rpn_reg.parameters()]
    try:
        for parameter in detector.rpn_head.rpn_reg.parameters():
            nn.init.zeros_(parameter)
        batch = drawn_batch([[]], (64, 640))
        images, samples = preprocess(detector, batch["image"], to_samples(batch), training=False)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            maps = detector.extract_feat(images)
            (found,) = proposals_of(detector.rpn_head.predict(maps, samples))
    finally:
        for parameter, value in zip(detector.rpn_head.rpn_reg.parameters(), weights, strict=True):
            parameter.data.copy_(value)
    anchors = torch.cat(detector.rpn_head.prior_generator.grid_priors([m.shape[2:] for m in maps], device="cpu"))
    anchors = torch.stack([anchors[:, 0::2].clamp(0, 640), anchors[:, 1::2].clamp(0, 64)], 2).flatten(1)
    assert ((found["boxes"][:, None] - anchors).abs().amax(2).amin(1) < 1e-3).all()
    assert found["boxes"].max() > 256


def propose(detector, pictures, training):
    detector.train(training)
    batch = drawn_batch(pictures, SIZE)
    images, samples = preprocess(detector, batch["image"], to_samples(batch), training=training)
    maps = detector.extract_feat(images)
    if not training:
        return proposals_of(detector.rpn_head.predict(maps, samples))
    for sample in samples:
        sample.gt_instances.labels.zero_()
    return total_of(detector.rpn_head.loss(maps, samples))


def train(loss, parameters, lr, steps):
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.02, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()


@untrained
def test_proposals_with_lift_are_found_at_places_never_trained_on():
    rng = random.Random(0)

    def drawn(count):
        sides = [(rng.randint(26, 38), rng.randint(26, 38)) for _ in range(count)]
        corners = [(rng.randint(0, SIZE[1] - w), rng.randint(0, SIZE[0] - h)) for w, h in sides]
        return [[(x, y, x + w, y + h, 0)] for (x, y), (w, h) in zip(corners, sides, strict=True)]

    detector = build("halve_strides", backbone__lift={"frozen": True})
    learning = [*detector.backbone.parameters(), *detector.neck.parameters(), *detector.rpn_head.parameters()]
    train(lambda: propose(detector, drawn(2), training=True), learning, 3e-3, steps=40)
    pictures = drawn(12)
    with torch.no_grad():
        found = propose(detector, pictures, training=False)
    truth = [torch.tensor([[*picture[0][:4]]], dtype=torch.float32) for picture in pictures]
    overlaps = torch.cat([box_iou(each["boxes"][:1], box) for each, box in zip(found, truth, strict=True)])
    assert overlaps.median() > 0.4


@pytest.mark.slow
def test_an_overfit_detector_with_lift_finds_what_was_drawn():
    detector = build(
        "halve_strides",
        backbone__model_args={**VIT["model_args"], "embed_dim": 96},
        train_cfg__rcnn__sampler__num=32,
        train_cfg__rpn_proposal__max_per_img=100,
    )
    batch = drawn_batch([ONE, OTHER], SIZE)
    train(lambda: total_of(losses_of(detector, batch)), detector.parameters(), 2e-3, steps=300)
    for found, boxes, labels in zip(predicted(detector, batch), batch["boxes"], batch["labels"], strict=True):
        assert found["scores"][0] > 0.5
        assert found["labels"][0] == labels[0]
        assert box_iou(found["boxes"][:1], boxes) > 0.7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"rpn_head__anchor_generator__strides": [4, 8, 16, 32, 64]},
            r"rpn_head\.anchor_generator\.strides .*\[2, 4, 8",
        ),
        (
            {"roi_head__mask_roi_extractor__finest_scale": 56},
            r"roi_head\.mask_roi_extractor\.finest_scale .* 56, .* 28",
        ),
        ({"data_preprocessor__pad_size_divisor": 8}, "pad_size_divisor .* is 8, but .* multiples of 16 pixels"),
        ({"pyramid_base": "both"}, "pyramid_base 'both' does not exist"),
        ({"neck__scales": [16, 1]}, "no whole pixels: take smaller scales"),
        ({"neck__scales": [3, 1]}, r"scales \[3\.?0?\] of the pyramid are no powers of two"),
    ],
)
def test_what_is_typed_by_hand_has_to_agree(changes, message):
    with pytest.raises(UserError, match=message):
        build("halve_strides", **changes)
    build("halve_strides", rpn_head__anchor_generator__strides=[2, 4, 8, 16, 32])
