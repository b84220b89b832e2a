"""VGGFace: the network that names 2,622 people, and the distance of two faces in what it sees."""

import re
from collections.abc import Mapping
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.identity import IdentityEmbedder
from networks.perceptual import CAFFE_MEAN, LAYERS, convolutions_of, relu_names, tapped
from networks.weights import load_state, read_state_dict
from visionscapes.checks import PositiveInt, check_options
from visionscapes.errors import UserError

SIDE = 224  # pixels; the first fully connected layer reads 7 x 7 cells
CELLS = SIDE // 32
Mean = Literal["imagenet", "vggface"]
Colours = Literal["bgr", "rgb"]
MEANS: dict[Mean, tuple[float, ...]] = {
    "imagenet": CAFFE_MEAN,
    "vggface": (93.5940 / 255, 104.7624 / 255, 129.1863 / 255),  # blue first
}
_CLASSIFIER = {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}


class VGGFaceNetwork(nn.Module):
    """VGG16 with an output for each of 2,622 people (Parkhi et al., BMVC 2015; thesis [251]), frozen.

    Args:
        width: channels of the first layers; the last have 8 times as many.
        hidden: numbers between the fully connected layers.
        identities: people.
        mean: what is taken from pixels. "imagenet", the mean of caffe's VGG, as in LSR's official code; "vggface", that
            of the faces that the network was trained with.
        colours: the order that the weights read, "bgr" (caffe, Torch7, Keras) or "rgb" (MatConvNet).

    Raises:
        UserError: an option out of its bounds.
    """

    mean: Tensor

    def __init__(
        self,
        width: PositiveInt = 64,
        hidden: PositiveInt = 4096,
        identities: PositiveInt = 2622,
        *,
        mean: Mean = "imagenet",
        colours: Colours = "bgr",
    ):
        check_options(VGGFaceNetwork, locals())
        from torchvision.models.vgg import make_layers

        super().__init__()
        levels = [(width, 2), (2 * width, 2), (4 * width, 3), (8 * width, 3), (8 * width, 3)]
        layers: list[int | str] = []
        for channels, count in levels:
            layers += [channels] * count + ["M"]
        self.features = make_layers(layers)  # type: ignore[arg-type]
        self.fc6 = nn.Linear(8 * width * CELLS**2, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, identities)
        self.name_of = {place: name for place, name in relu_names(self.features).items() if name in LAYERS}
        self.blue_first = colours == "bgr"
        values = torch.tensor(MEANS[mean] if self.blue_first else MEANS[mean][::-1])
        self.register_buffer("mean", values.view(3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    @override
    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    @override
    def forward(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Look at faces.

        Args:
            images: (B, 3, H, W) RGB in [-1, 1]; resized to 224 x 224 pixels, bilinearly, with antialiasing where that
                makes them smaller.

        Returns:
            The maps after the first ReLU of each level by name ("relu1_1" to "relu5_1"), and the numbers (B, 2622)
            before the softmax.
        """
        if images.shape[-2:] != (SIDE, SIDE):
            resized = F.interpolate(images.float(), (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
            images = resized.to(images.dtype)
        images = images.flip(-3) if self.blue_first else images
        maps, last = tapped(self.features, 255 * ((images + 1) / 2 - self.mean), self.name_of)
        hidden = F.relu(self.fc7(F.relu(self.fc6(last.flatten(1)))))
        return maps, self.fc8(hidden)

    @classmethod
    def from_file(cls, path: str, *, mean: Mean = "imagenet", colours: Colours = "bgr") -> "VGGFaceNetwork":
        """Return the network of a local file.

        Read are the names of the usual conversions for PyTorch: "conv1_1" ("vgg_face_dag", from MatConvNet, which wants
        ``colours`` "rgb"), "conv_1_1" (from Torch7), "features.0" (torchvision), each with "fc6" to "fc8" or
        "classifier.0", ".3" and ".6". Layers may be thinner than those of VGG16: sizes are those of the file. Who
        converts from Keras has to put the inputs of fc6, (7, 7, 512) there, in the order (512, 7, 7).

        Args:
            path: see `networks.weights.read_state_dict`.
            mean: see the class.
            colours: see the class.

        Raises:
            UserError: the file cannot be read, or names or shapes are not those of the network.
        """
        state = _own_names(read_state_dict(path))
        first, last = state.get("features.0.weight"), state.get("fc8.weight")
        if first is None or last is None or first.dim() != 4 or last.dim() != 2:
            raise UserError(
                f"'{path}' does not hold VGGFace, for it has no {'fc8' if first is not None else 'conv1_1'}: give a "
                "conversion for PyTorch of VGG16 with 2,622 identities, with layers conv1_1 to conv5_3 and fc6 to fc8"
            )
        with torch.device("meta"):  # 145 million weights, which are not worth drawing first
            network = cls(len(first), last.shape[1], len(last), mean=mean, colours=colours)
        network.to_empty(device="cpu")
        values = MEANS[mean] if network.blue_first else MEANS[mean][::-1]
        network.mean.copy_(torch.tensor(values).view(3, 1, 1))
        load_state(network, state, f"'{path}'", "Give a conversion for PyTorch of VGG16 with 2,622 identities.")
        return network


class VGGFaceDistance(nn.Module):
    """How far two pictures of faces are from each other in VGGFace (6.1.1.3), frozen.

    LSR's official code adds a second term, on the numbers before the softmax, of which the thesis says nothing.

    Args:
        weights: file of VGGFace, see `VGGFaceNetwork.from_file`.
        mean: see `VGGFaceNetwork`.
        colours: see `VGGFaceNetwork`.

    Raises:
        UserError: the file cannot be read, or is that of another network.
    """

    def __init__(self, weights: str, *, mean: Mean = "imagenet", colours: Colours = "bgr"):
        check_options(VGGFaceDistance, locals())
        super().__init__()
        self.network = VGGFaceNetwork.from_file(weights, mean=mean, colours=colours)

    @override
    def forward(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Compare pictures.

        Args:
            images: (B, 3, H, W), RGB in [-1, 1]; the gradient goes here. See `VGGFaceNetwork.forward` for sizes.
            target: the same of the pictures aimed at; no gradient goes here.

        Returns:
            Two float32 scalars: the sum over conv1_1, 2_1, 3_1, 4_1 and 5_1, after their ReLUs, of the mean absolute
            difference, and the mean absolute difference of the numbers before the softmax.
        """
        with torch.no_grad():
            wanted, wanted_identity = self.network(target)
        got, identity = self.network(images)
        terms = [F.l1_loss(got[layer].float(), wanted[layer].float()) for layer in LAYERS]
        return torch.stack(terms).sum(), F.l1_loss(identity.float(), wanted_identity.float())


class VGGFace(IdentityEmbedder):
    """The 2,622 numbers of VGGFace before its softmax, by which the thesis tells identities (6.1.2).

    The thesis names the network and not the layer; these are the numbers that LSR's official code compares. Its losses
    have the same network, so that it judges what it has trained.

    Args:
        weights: file of VGGFace, see `VGGFaceNetwork.from_file`.
        mean: see `VGGFaceNetwork`.
        colours: see `VGGFaceNetwork`.

    Raises:
        UserError: the file cannot be read, or is that of another network.
    """

    title = "VGGFace"

    def __init__(self, weights: str, mean: Mean = "imagenet", colours: Colours = "bgr"):
        check_options(VGGFace, locals())
        super().__init__()
        self.network = VGGFaceNetwork.from_file(weights, mean=mean, colours=colours)

    @override
    def embed(self, images: Tensor) -> Tensor:
        return self.network(2 * images - 1)[1]


def _own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of one of the usual conversions with the names of `VGGFaceNetwork`."""
    with torch.device("meta"):
        features = VGGFaceNetwork(1, 1, 1).features
    found = {f"features.{key}": value for key, value in convolutions_of(features, state).items()}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        layer = _CLASSIFIER.get(layer, layer)
        if re.fullmatch(r"fc\d+", layer):
            found[f"{layer}.{kind}"] = value.flatten(1) if kind == "weight" else value  # fc6 as a convolution of 7 x 7
    return found
