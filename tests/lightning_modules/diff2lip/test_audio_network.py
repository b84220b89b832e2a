import pytest
import torch

from lightning_modules.diff2lip.audio_network import AudioEncoder, AudioOptions, SyncAudioEncoder
from networks.sync_network import SyncNetwork
from tests.lightning_modules.diff2lip.cases import SYNCNET, moved
from visionscapes.errors import UserError

MEL = torch.randn(3, 80, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", [AudioOptions(width=4), AudioOptions(encoder="syncnet", syncnet=SYNCNET)])
def test_a_vector_for_every_frame_that_is_zero_at_the_start_and_learns(options):
    encoder = options.build(24)
    assert encoder(MEL).shape == (3, 24)
    assert encoder(MEL).abs().max() == 0
    encoder(MEL).sum().backward()
    assert max(each.grad.abs().max() for each in encoder.style.parameters()) > 0


def test_one_frame_does_not_hear_another():
    encoder = moved(AudioEncoder(24, 4)).eval()
    both = encoder(MEL)
    torch.testing.assert_close(torch.cat([encoder(each[None]) for each in MEL]), both)
    assert (both[0] - both[1]).abs().max() > 1e-4


def test_time_is_shrunk_less_than_frequency():
    """Averages over 2 x 1, 2 x 1 and 2 x 2 make 8 x 8 of 64 x 16."""
    encoder, shapes = AudioEncoder(24, 4), []
    encoder.norm.register_forward_hook(lambda *hook: shapes.append(tuple(hook[1][0].shape)))
    encoder(MEL)
    assert shapes == [(3, 16, 8, 8)]


def test_the_sound_branch_of_a_syncnet_is_copied_and_trained_on():
    network = SyncNetwork.from_file(SYNCNET)
    encoder = SyncAudioEncoder(24, network).eval()
    heard = []
    encoder.style.register_forward_hook(lambda *hook: heard.append(hook[1][0]))
    encoder(MEL)
    torch.testing.assert_close(torch.nn.functional.normalize(heard[0], dim=1), network.embed_sound(MEL))
    learns = {name for name, each in encoder.named_parameters() if each.requires_grad}
    assert {"sound.0.conv.weight", "sound.0.norm.bias", "style.weight"} <= learns
    assert "sound.0.conv.bias" not in learns, "a batch norm takes it away again"


def test_the_width_can_be_divided_by_the_groups():
    with pytest.raises(UserError, match="multiple of 4"):
        AudioOptions(width=6)
