"""SyncNet's two towers as networks of their own."""

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.any_size import with_only
from networks.audio import MEL_BINS, WINDOW_FRAMES
from networks.sync_network import SyncNetwork
from visionscapes.exporting.parts import BATCH, Exportable, Input, Size

MEL_STEPS = 16  # of a window of sound


class FaceTower(nn.Module):
    """What a `SyncNetwork` makes of faces of any size.

    Args:
        network: the SyncNet.
    """

    def __init__(self, network: SyncNetwork):
        super().__init__()
        self.network = with_only(network, "faces")

    @override
    def forward(self, faces: Tensor) -> Tensor:
        """Return embeddings (N, D) of unit length of windows of faces (N, 5, 3, H, W) in [0, 1]."""
        size = self.network.image_size
        halves = faces[..., faces.shape[-2] // 2 :, :].flatten(0, 1)
        # Halves that have the right size already are resized too, which leaves them as they are.
        resized = F.interpolate(halves, (size // 2, size), mode="bilinear", antialias=True, align_corners=False)
        return self.network.embed_halves(resized.unflatten(0, (-1, WINDOW_FRAMES)))


class SoundTower(nn.Module):
    """What a `SyncNetwork` makes of sound.

    Args:
        network: the SyncNet.
    """

    def __init__(self, network: SyncNetwork):
        super().__init__()
        self.network = with_only(network, "sound")

    @override
    def forward(self, mel: Tensor) -> Tensor:
        """Return embeddings (N, D) of unit length of mel windows (N, 80, 16) in [-4, 4]."""
        return self.network.embed_sound(mel)


def towers(network: SyncNetwork) -> list[Exportable]:
    """Return both towers as they are exported: a mouth and a sound fit where the product of the embeddings is large."""
    size = network.image_size
    about = {"same_from_cosine": network.threshold(), "probability_of": network.probability_of}
    sizes = {
        "batch": BATCH,
        "height": Size(size + 5, (size // 2 + 3, size), fixed=size),
        "width": Size(size - 3, (2 * size + 1, size), fixed=size),
    }
    faces = Input(
        shape=("batch", WINDOW_FRAMES, 3, "height", "width"), meaning="five frames of a face, RGB, a window of 200 ms"
    )
    mel = Input(
        shape=("batch", MEL_BINS, MEL_STEPS), meaning="the mel spectrogram of the same 200 ms", low=-4.0, high=4.0
    )
    return [
        Exportable(
            name="syncnet_faces",
            network=FaceTower(network),
            inputs={"faces": faces},
            outputs={"embedding": "of unit length"},
            sizes=sizes,
            reference=network.embed_faces,
            about=about,
        ),
        Exportable(
            name="syncnet_sound",
            network=SoundTower(network),
            inputs={"mel": mel},
            outputs={"embedding": "of unit length"},
            about=about,
        ),
    ]
