"""The pretrained networks whose features tell how realistic or how similar images are."""

import warnings
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.vit_features import ViTFeatures
from networks.weights import read_state_dict
from visionscapes.errors import UserError

DOWNLOAD = "download"  # in place of the path of a file
SMALL_NETWORK = "dense-contrastive ViT"
_SMALL_WEIGHTS = Path(__file__).parents[1] / "weights" / "dense_contrastive.safetensors"


def small_network() -> ViTFeatures:
    """Return the small ViT that this repository has made, with its features before the last block.

    It saw procedural scenes at 64 pixels (weights/README.md) and takes images of any size at least that of a patch, 8.
    """
    with torch.random.fork_rng(devices=[]):  # a run draws the same numbers with and without a callback
        return ViTFeatures(
            "vit_tiny_patch16_224",
            str(_SMALL_WEIGHTS),
            layer=2,
            facet="token",
            model_args={"patch_size": 8, "img_size": 64, "embed_dim": 128, "depth": 4, "num_heads": 4},
            mean=[0.485, 0.456, 0.406],
            std=[0.229, 0.224, 0.225],
        )


def feature_distance(features: Tensor, truth: Tensor) -> Tensor:
    """Return the mean over the cells of 1 - cosine similarity of the features of two images.

    LPIPS has this form for each layer, with a learned weight for every channel (R. Zhang et al., "The unreasonable
    effectiveness of deep features as a perceptual metric", CVPR 2018), but figures of other networks are not LPIPS.

    Args:
        features: (B, C, h, w).
        truth: (B, C, h, w).

    Returns:
        (B,) float32 in [0, 2].
    """
    return 1 - F.cosine_similarity(features.float(), truth.float(), dim=1).flatten(1).mean(1)


class SmallDistance(nn.Module):
    """Distance (B,) of images (B, 3, H, W) in [0, 1] to others in the features of the small network."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()

    @override
    def forward(self, images: Tensor, truth: Tensor) -> Tensor:
        return feature_distance(self.network(images), self.network(truth))


class SmallFeatures(nn.Module):
    """Features (B, 128) of images (B, 3, H, W) uint8: the mean over the cells of the small network."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()
        self.num_features = self.network.dim

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.network(images.float() / 255).mean((2, 3))


Trunk = Literal["alex", "vgg"]
_TRUNKS: dict[Trunk, tuple[str, str]] = {  # its name, and that of its weights in torchvision
    "alex": ("AlexNet", "AlexNet_Weights"),
    "vgg": ("VGG16", "VGG16_Weights"),
}


class LPIPS(nn.Module):
    """LPIPS of version 0.1: distance (B,) of images (B, 3, H, W) in [0, 1] to others.

    The weights of the channels come with the package ``lpips``.

    Args:
        weights: of torchvision's network for ImageNet: the path of a file, or "download".
        trunk: "alex" for AlexNet, which figures are given with, or "vgg" for VGG16, which losses are taken with.

    Raises:
        UserError: no such file, it does not fit, or it cannot be fetched.

    R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018.
    """

    def __init__(self, weights: str, trunk: Trunk = "alex"):
        super().__init__()
        import lpips

        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package calls torchvision as it was some years ago
            self.distance = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
        state = _fetched(trunk) if weights == DOWNLOAD else read_state_dict(weights)
        wanted = self.distance.net.state_dict()  # slice<k>.<n>.weight for features.<n>.weight
        names = {name: name.replace(name.split(".")[0], "features", 1) for name in wanted}
        fits = all(old in state and state[old].shape == wanted[new].shape for new, old in names.items())
        if not fits:
            raise UserError(
                f"the weights of LPIPS, '{weights}', are not those of torchvision's {_TRUNKS[trunk][0]}: give its state"
                " dict"
            )
        self.distance.net.load_state_dict({new: state[old] for new, old in names.items()})
        self.requires_grad_(False).eval()

    @override
    def forward(self, images: Tensor, truth: Tensor) -> Tensor:
        return self.distance(images, truth, normalize=True).flatten()


def _fetched(trunk: Trunk) -> dict[str, Tensor]:
    from torchvision import models

    name, of = _TRUNKS[trunk]
    weights = getattr(models, of).IMAGENET1K_V1
    try:
        return weights.get_state_dict(check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"cannot fetch the weights of {name} ({type(error).__name__}). Without a network: fetch '{weights.url}' "
            "elsewhere and give its path in place of 'download', or leave it out for the distance of a small network"
        ) from error


def inception(weights: str) -> nn.Module:
    """Return the Inception network of the FID: (B, 3, H, W) uint8 to features (B, 2048), with ``num_features``.

    Args:
        weights: of torch-fidelity, which are those of the original FID: the path of a file, or "download".

    Raises:
        UserError: no such file, it does not fit, or it cannot be fetched.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
    from torchmetrics.image.fid import NoTrainInceptionV3

    path = None if weights == DOWNLOAD else str(Path(weights).expanduser())
    if path is not None:
        read_state_dict(path)  # torch-fidelity would run code that a file brings
    try:
        with torch.random.fork_rng(devices=[]):
            network = NoTrainInceptionV3("inception-v3-compat", ["2048"], path)
    except (OSError, RuntimeError) as error:
        what = "cannot fetch" if path is None else f"inception_weights '{weights}' do not fit"
        raise UserError(
            f"{what} the Inception network of the FID ({type(error).__name__}): fetch '{URL_INCEPTION_V3}' and give "
            "its path as inception_weights, or leave it out for the distance of a small network"
        ) from error
    network.num_features = 2048  # type: ignore[assignment]
    return network
