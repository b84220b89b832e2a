"""LSR as two networks of their own: shots to codes, and codes with a drawing of landmarks to an image."""

from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.lsr.network import HeadNetwork, Latents, LayoutNetwork, seen_as
from networks.any_size import with_only
from networks.generated import to_unit_range
from visionscapes.exporting.parts import BATCH, Exportable, Input, Size

SHOTS = Size(2, (3, 1))
CODES = {
    "layout_code": "z^l of the person, the mean over the shots",
    "style_code": "z^s of the person, the mean over the shots",
}


class ShotsToCodes(nn.Module):
    """The codes of people.

    Args:
        network: that reenacts, or predicts the layout alone.
    """

    def __init__(self, network: HeadNetwork | LayoutNetwork):
        super().__init__()
        self.network = with_only(network, "layout.encoder", "style", "encoder")

    @override
    def forward(self, shots: Tensor, drawings: Tensor) -> Any:
        """Return codes (B, latent) of shots and drawings (B, K, 3, S, S) in [0, 1]."""
        codes = self.network.encode(shots, drawings)
        return tuple(each for each in codes if each is not None) if isinstance(codes, Latents) else codes


class CodesToHead(nn.Module):
    """People in the poses of drawings.

    Args:
        network: that reenacts, or predicts the layout alone.
    """

    def __init__(self, network: HeadNetwork | LayoutNetwork):
        super().__init__()
        self.network: Any = with_only(network, "layout.predictor", "image", "predictor")

    @override
    def forward(self, drawing: Tensor, *codes: Tensor) -> Any:
        """Return images (B, 3, S, S) in [0, 1], and the layout (B, C, S, S) where one is predicted.

        Args:
            drawing: (B, 3, S, S) in [0, 1], of the landmarks.
            codes: (B, latent) as `ShotsToCodes` gives them; behind them the label maps that an oracle has.
        """
        if isinstance(self.network, LayoutNetwork):
            predicted = self.network(drawing, codes[0])
            return to_unit_range(predicted.rgb), seen_as(predicted.logits, "softmax")
        given: list[Tensor | None] = [*codes] if self.network.layout is not None else [None, *codes]
        layout, style, *labels = given
        head = self.network.render(drawing, Latents(layout, style), *labels)  # type: ignore[arg-type]  # a style is given
        image = to_unit_range(head.image)
        return image if head.predicted is None else (image, head.layout)


def heads(network: HeadNetwork | LayoutNetwork, size: int, drawn: bool | None) -> list[Exportable]:
    """Return both networks as they are exported.

    Args:
        network: that reenacts, or predicts the layout alone.
        size: S in pixels.
        drawn: whether it was trained on drawn faces; None if nothing is known.
    """
    predicts = isinstance(network, LayoutNetwork) or network.layout is not None
    has = {"layout_code": predicts, "style_code": isinstance(network, HeadNetwork)}
    latent = (network.style if isinstance(network, HeadNetwork) else network.encoder).code.out_features
    codes = {name: meaning for name, meaning in CODES.items() if has[name]}
    more: dict[str, Input] = {
        name: Input(shape=("batch", latent), meaning=meaning, kind="normal", low=None, high=None)
        for name, meaning in codes.items()
    }
    if isinstance(network, HeadNetwork) and network.spatial == "oracle":
        meaning = "label maps of the images that are wanted"
        more["labels"] = Input(
            shape=("batch", size, size), meaning=meaning, kind="integers", low=0, high=network.classes
        )
    about = {"classes_of_layout": network.classes, "trained_on_drawn_faces": drawn}
    many = ("batch", "shots", 3, size, size)
    drawing = Input(shape=("batch", 3, size, size), meaning="drawings of the landmarks of the poses that are wanted")
    layout = {"layout": "probabilities of the labels"} if predicts else {}
    return [
        Exportable(
            name="lsr_encoder",
            network=ShotsToCodes(network),
            inputs={
                "shots": Input(shape=many, meaning="RGB pictures of each person"),
                "drawings": Input(shape=many, meaning="drawings of their landmarks"),
            },
            outputs=codes,
            sizes={"batch": BATCH, "shots": SHOTS},
            about=about,
        ),
        Exportable(
            name="lsr_generator",
            network=CodesToHead(network),
            inputs={"drawing": drawing, **more},
            outputs={"image": "the person in that pose, in [0, 1]", **layout},
            about=about,
        ),
    ]
