import pytest
import torch

from lightning_modules.diff2lip.audio_network import AudioOptions
from lightning_modules.diff2lip.network import Conditions, LipNetwork, UNetOptions
from tests.lightning_modules.diff2lip.cases import UNET, moved
from visionscapes.errors import UserError


def network(**options):
    torch.manual_seed(0)
    return LipNetwork(UNetOptions(**UNET | options), AudioOptions(width=4))


def inputs(height=16, width=16, count=2):
    random = torch.Generator().manual_seed(0)
    x_t, masked, reference = torch.randn(3, count, 3, height, width, generator=random)
    mask = torch.zeros(count, 1, height, width)
    mask[:, :, height // 2 :] = 1
    return x_t, torch.full((count,), 500), torch.randn(count, 32, generator=random), Conditions(masked, reference, mask)


def test_it_gives_zeros_at_the_start():
    made = network()
    x_t, step, sound, conditions = inputs()
    assert made(x_t, step, sound, conditions=conditions).abs().max() == 0
    assert made.embed(torch.randn(2, 80, 16)).abs().max() == 0


@pytest.mark.parametrize("conditioning", ["additive", "scale_shift"])
def test_everything_that_it_sees_and_hears_matters(conditioning):
    made = moved(network(conditioning=conditioning)).eval()
    x_t, step, sound, conditions = inputs()
    base = made(x_t, step, sound, conditions=conditions)
    others = {
        "x_t": made(x_t + conditions.mask, step, sound, conditions=conditions),
        "step": made(x_t, step + 100, sound, conditions=conditions),
        "sound": made(x_t, step, sound + 1, conditions=conditions),
        "condition": made(x_t, step, sound, conditions=conditions._replace(masked=conditions.masked + 1)),
        "reference": made(x_t, step, sound, conditions=conditions._replace(reference=conditions.reference + 1)),
    }
    assert all((other - base).abs().max() > 1e-4 for other in others.values())


def test_outside_the_mask_the_condition_stands_in_for_the_noised_frame():
    made = moved(network()).eval()
    x_t, step, sound, conditions = inputs()
    changed = x_t + 5 * (1 - conditions.mask)
    both = [made(each, step, sound, conditions=conditions) for each in (x_t, changed)]
    assert torch.equal(*both)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (8, 24), (32, 12)])
def test_any_size_that_can_be_halved(height, width):
    made = moved(network(learn_sigma=True))
    x_t, step, sound, conditions = inputs(height, width)
    assert made(x_t, step, sound, conditions=conditions).shape == (2, 6, height, width)


def test_the_first_level_may_have_more_channels_than_the_base():
    options = UNetOptions(**UNET | {"multipliers": (2, 3)})
    made = moved(LipNetwork(options, AudioOptions(width=4)))
    x_t, step, _, conditions = inputs()
    sound = made.embed(torch.randn(2, 80, 16))
    assert made(x_t, step, sound, conditions=conditions).shape == x_t.shape


def test_one_step_for_all_frames_is_that_step_for_each():
    made = moved(network()).eval()
    x_t, step, sound, conditions = inputs()
    torch.testing.assert_close(
        made(x_t, torch.tensor(500), sound, conditions=conditions), made(x_t, step, sound, conditions=conditions)
    )


def test_the_norm_of_the_middle_attention_is_there_with_scale_and_shift():
    for conditioning in ("additive", "scale_shift"):
        assert network(conditioning=conditioning).unet.mid_block.attentions[0].group_norm is not None


def test_attention_is_at_its_levels():
    made = network(multipliers=(1, 2, 2), attention_levels=(1,)).unet
    assert [hasattr(block, "attentions") for block in made.down_blocks] == [False, True, False]
    assert [hasattr(block, "attentions") for block in made.up_blocks] == [False, True, False]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"attention_levels": (2,)}, "of 2 levels the last is 1"),
        ({"base": 6}, "multiple of 4"),
        ({"head_channels": 12}, "has to divide the 16 channels"),
        ({"multipliers": ()}, "multipliers"),
    ],
)
def test_options_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        UNetOptions(**UNET | wrong)
