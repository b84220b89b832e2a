"""Every exported module, moved to another device: nothing that holds tensors or names a device stays behind.

The device is torch's "meta", which every machine has. What a run does on a GPU is in tests/test_pretended_cuda.py.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightning_modules.adversarial_options import OptimizerOptions
from lightning_modules.diff2lip.audio_network import AudioOptions
from lightning_modules.diff2lip.experts import ExpertOptions
from lightning_modules.diff2lip.loss_options import LossOptions
from lightning_modules.diff2lip.network import UNetOptions
from lightning_modules.lsr.experts import HeadExpertOptions
from lightning_modules.lsr.loss_options import HeadLossOptions
from lightning_modules.lsr.network import HeadNetworkOptions
from lightning_modules.supervision.visual_tokens import CodebookFile, KMeansTokens
from lightning_modules.vit_analysis.module import AnalysedViT
from networks.perceptual import FeatureDistance
from networks.vggface import VGGFaceNetwork
from tests.helpers.left_behind import left_behind
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.runs import ROOT
from tests.helpers.small_detectors import C4, CASCADE, FCOS, FCOS_RPN, FPN, MASKS, RETINA, SMALL
from tests.helpers.tiny_diffusion import write_diffusion
from tests.helpers.tiny_gligen import write_gligen
from tests.helpers.tiny_vit import MODEL, TINY, TINY_64
from tests.lightning_modules.gan_discovery import worlds
from tests.networks.test_segmenters import segformer
from visionscapes.renamed_options import with_new_names

ROOMS = ("lightning_modules", "networks")
EXPORTED = {name: room for room in ROOMS for name in import_module(room).EXPORTS}
EVERY_DETECTOR = (FPN, C4, MASKS, CASCADE, FCOS, RETINA, FCOS_RPN)
TWO_STAGES = (FPN, C4)
IMAGE = {"image_size": 16, "classes": 4}
GRIT = {"style_dim": 8, "base": 4, "most": 8, "downs": 2, "discriminator_base": 64, "ema": 0.9}
PATCHES = {"base": 4, "discriminator_base": 4, "vgg_weights": None, "ema": 0.9}
Make = Callable[..., nn.Module]  # of the folder for files, and the class


def export(name: str) -> Any:
    return getattr(import_module(EXPORTED[name]), name)


def plain(**options: Any) -> Make:
    return lambda folder, cls: cls(**options)


def renamed(**options: Any) -> Make:
    """The options may stand outside their groups, for brevity."""
    return lambda folder, cls: cls(**with_new_names(cls.__name__, options))


def detector(config: str, **options: Any) -> Make:
    return plain(config=config, overrides=SMALL[config], **options)


def vit(**options: Any) -> Make:
    return plain(model=MODEL, model_args=TINY, **options)


def features(**options: Any) -> nn.Module:
    return export("ViTFeatures")(MODEL, weights=None, model_args=TINY_64, **options)


def syncnet(**options: Any) -> Make:
    return lambda folder, cls: cls(export("SyncNetwork")(image_size=24, width=4), **options)


def aesthetic(folder: Path, cls: Any) -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPVisionConfig(**size, image_size=28, patch_size=14, projection_dim=768)
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "clip")
    sizes = {0: (1024, 768), 2: (128, 1024), 4: (64, 128), 6: (16, 64), 7: (1, 16)}
    weights = {f"layers.{place}.weight": torch.zeros(shape) for place, shape in sizes.items()}
    biases = {f"layers.{place}.bias": torch.zeros(shape[0]) for place, shape in sizes.items()}
    torch.save(weights | biases, folder / "predictor.pth")
    return cls(str(folder / "clip"), str(folder / "predictor.pth"))


def gligen(folder: Path) -> nn.Module:
    return export("GLIGENInpainter")(str(write_gligen(folder / "gligen")))


def guided(folder: Path, cls: Any) -> nn.Module:
    trained = export("Detector")(FPN, num_classes=12, overrides=SMALL[FPN])
    trainer = quiet_trainer(folder, [])
    trainer.strategy.connect(trained)
    trainer.save_checkpoint(folder / "detector.ckpt")
    inpainter = export("DiffusionInpainter")(str(write_diffusion(folder / "a.safetensors")))
    return cls(inpainter, guide=str(folder / "detector.ckpt"))


def vggface(folder: Path, cls: Any) -> nn.Module:
    path = folder / "vggface.pth"
    torch.save(VGGFaceNetwork(2, 8, 5).state_dict(), path)
    return cls(str(path))


def dubbing(**options: Any) -> Make:
    def make(folder: Path, cls: Any) -> nn.Module:
        unet = UNetOptions(base=8, multipliers=(1, 2), blocks=1, attention_levels=(1,), head_channels=8)
        experts = ExpertOptions(syncnet=str(ROOT / "weights" / "syncnet.safetensors"), perceptual="small")
        average = OptimizerOptions(ema=0.9)
        audio = AudioOptions(width=4)
        return cls(face_size=16, unet=unet, audio=audio, experts=experts, optimizer=average, **options)

    return make


def heads(**options: Any) -> Make:
    """The networks of the losses are there too."""

    def make(folder: Path, cls: Any) -> nn.Module:
        network = HeadNetworkOptions(base=4, most=8, latent=8, levels=2, spade_hidden=4)
        losses = {"losses": HeadLossOptions(lambda_vggface=0.0, lambda_id=0.0)} if cls.__name__ != "LSRLayout" else {}
        average = {} if cls.__name__ == "LSRFineTuning" else {"optimizer": OptimizerOptions(ema=0.9)}
        experts = HeadExpertOptions(perceptual="small")
        made = cls(image_size=16, network=network, experts=experts, **losses | average | options)
        made.call_experts()
        return made

    return make


def over_features(folder: Path, cls: Any, **options: Any) -> nn.Module:
    return cls(features(), **options)


def beit(tokenizer: Callable[[Path], nn.Module]) -> Make:
    return lambda folder, cls: cls(MODEL, tokenizer(folder), TINY, min_block=2)


def centres_in_a_file(folder: Path) -> nn.Module:
    torch.save({"centres": torch.zeros(5, 3 * 8**2)}, folder / "centres.pt")
    return CodebookFile(str(folder / "centres.pt"))


def analysis(folder: Path, cls: Any) -> nn.Module:
    entry = AnalysedViT(model=MODEL, weights=None, model_args=TINY)
    return cls({"trained": entry, "none": AnalysedViT(model=MODEL, weights=None, model_args=TINY, method="Random")}, 32)


CASES: dict[str, list[Make]] = {
    "GANDiscovery": [lambda folder, cls: worlds.module()],
    "GRIT": [renamed(**IMAGE, **GRIT), renamed(**IMAGE, **GRIT, reconstruction="vgg", vgg_weights=None)],
    "Pix2PixHD": [renamed(**IMAGE, **PATCHES, downs=2, blocks=1)],
    "SPADE": [renamed(**IMAGE, **PATCHES, hidden=4, style_dim=8)],
    "LiFT": [over_features],
    "BackboneClassifier": [detector(config, classes=3) for config in TWO_STAGES],
    "FaceIdentity": [plain()],
    "Detector": [detector(config) for config in EVERY_DETECTOR],
    "Gen2Det": [detector(config) for config in EVERY_DETECTOR],
    "BoxDiffusionTraining": [plain(classes=["a", "b"], channels=[8, 16])],
    "LayoutInpainting": [lambda folder, cls: cls(gligen(folder)), guided],
    "GeneratedPictureFilter": [lambda folder, cls: cls(instances=False, image_score=export("Contrast")())],
    "AestheticPredictor": [aesthetic],
    "Contrast": [plain()],
    "ObjectPasting": [lambda folder, cls: cls(import_module("datamodules").SceneObjects())],
    "DiffusionInpainter": [lambda folder, cls: cls(str(write_diffusion(folder / "a.safetensors")))],
    "GLIGENInpainter": [lambda folder, cls: gligen(folder)],
    "SparseDet": [detector(config) for config in TWO_STAGES],
    "CoMining": [detector(config) for config in TWO_STAGES],
    "PseudoLabels": [detector(config) for config in TWO_STAGES],
    "TwoViewDetector": [detector(config) for config in TWO_STAGES],
    # The TorchScript that BEiT may take cannot be moved to "meta"; tests/lightning_modules/supervision moves it.
    "BEiT": [beit(make) for make in (lambda _: KMeansTokens(8, 8), centres_in_a_file)],
    "CLIP": [vit(embedding=8, text_width=16, text_depth=1, text_heads=2)],
    "DINO": [vit(prototypes=16, hidden=16, bottleneck=8)],
    "DenseContrastive": [vit()],
    "MAE": [vit(decoder_dim=16, decoder_depth=1, decoder_heads=2)],
    "MoCo": [vit(projection=8, hidden=16)],
    "Supervised": [vit(classes=3), vit(classes=3, mixup=0)],
    "LSRLayout": [heads()],
    "LSR": [heads(), heads(spatial="none", losses=HeadLossOptions(lambda_gan=0.0, lambda_vggface=0.0, lambda_id=0.0))],
    "LSRFineTuning": [heads(), heads(spatial="segmentation")],
    "Diff2Lip": [dubbing(), dubbing(losses=LossOptions(lambda_gan=0.0))],
    "Wav2Lip": [dubbing()],
    "Copying": [plain(face_size=16)],
    "SyncNet": [syncnet(objective=objective) for objective in ("pair", "contrastive_then_pair")],
    "ViTAnalysis": [analysis],
    "AtLargerImage": [over_features],
    "SmallIdentity": [plain(weights=None)],
    "VGGFace": [vggface],
    "SyncNetwork": [
        plain(image_size=24, width=4),
        plain(image_size=24, width=4, norm="group", nonnegative=False, probability="sigmoid"),
    ],
    "TransformersSegmenter": [lambda folder, cls: cls(str(segformer(folder)))],
    "Upsampled": [over_features],
    "ViTFeatures": [lambda folder, cls, facet=facet: features(facet=facet) for facet in ("token", "key")],
}
# What may stay, and why.
NOT_USED = {
    "criterion.teacher_temp_schedule": "training_step gives the temperature",
    "head.last_layer.weight": "of the old weight_norm, made anew in every forward pass",
    "teacher_head.last_layer.weight": "of the old weight_norm, made anew in every forward pass",
    **{
        f"{before}pipeline.scheduler.{table}": "numbers of steps, which diffusers reads one by one"
        for before in ("", "inpainter.")
        for table in ("alphas", "alphas_cumprod", "betas", "final_alpha_cumprod", "timesteps")
    },
}


@pytest.fixture
def small_perceptual_network(monkeypatch):
    """VGG19 has 20 million weights."""

    def small(*args: Any) -> FeatureDistance:
        return FeatureDistance(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), ["relu1_1"], [1.0])

    for module in ("lightning_modules.grit.module", "lightning_modules.grit.baselines.matching"):
        monkeypatch.setattr(f"{module}.VGGPerceptual", small)


def where(line: str) -> str:
    """Return the name of a module's attribute in a line of ``left_behind``, "head.weight"."""
    return line.partition(":")[0].replace("._modules['", ".").replace("']", "").lstrip(".")


@pytest.mark.usefixtures("small_perceptual_network")
@pytest.mark.filterwarnings("ignore:.*backbone has no weights", "ignore:.*tensors of the backbone")
@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:.*meshgrid")
@pytest.mark.parametrize("name", EXPORTED)
def test_nothing_stays_behind(name: str, tmp_path: Path) -> None:
    assert name in CASES, f"{name} is new: say in CASES how a small one is made, so that moving it is tested"
    for make in CASES[name]:
        made = make(tmp_path, export(name))
        assert left_behind(made, "cpu") == []
        assert [line for line in left_behind(made.to("meta"), "meta") if where(line) not in NOT_USED] == []


def test_every_case_is_exported() -> None:
    assert CASES.keys() == EXPORTED.keys()


class Forgetful(nn.Module):
    """Hides something in every place where it was found or might be."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.layer, hidden = nn.Linear(2, 2), torch.zeros(3)
        match place:
            case "attribute":
                self._hidden = hidden
            case "list":
                self._hidden = [nn.Linear(2, 2)]
            case "dictionary":
                self._hidden = {"a": (1, hidden)}
            case "object":
                self._hidden = type("Anchors", (), {})()
                self._hidden.base = [hidden]
            case "hook":
                self.layer.register_forward_hook(partial(lambda *_: None, hidden))
            case "closure":
                self._hidden = lambda: hidden
            case "name of a device":
                self._hidden = torch.device("cpu")


@pytest.mark.parametrize("place", ["attribute", "list", "dictionary", "object", "hook", "closure", "name of a device"])
def test_hiding_places_are_looked_into(place: str) -> None:
    whole = Forgetful(place).to("meta")
    assert left_behind(whole, "meta")
    assert all(" on cpu" in line for line in left_behind(whole, "meta"))
    assert left_behind(Forgetful("nowhere").to("meta"), "meta") == []
