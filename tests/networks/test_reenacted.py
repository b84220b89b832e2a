import numpy as np
import pytest
import torch

from networks.reenacted import Reenacted, Reenacts, method_name, parsed_method, shot_numbers


def test_names_tell_shots_and_fine_tuning():
    assert [method_name(1), method_name(4, fine_tuned=True)] == ["K = 1", "K = 4, fine-tuned"]


def test_names_can_be_read_again():
    for shots, fine_tuned in ((1, False), (32, True)):
        assert parsed_method(method_name(shots, fine_tuned)) == (shots, fine_tuned)
    assert parsed_method("source unmoved") is parsed_method("K = 4, other") is None


@pytest.mark.parametrize("count", [1, 4, 7, 32, 33])
def test_shots_are_spread_as_in_the_official_code(count):
    for shots in range(1, count + 1):
        numbers = shot_numbers(count, shots)
        assert numbers == np.floor(np.linspace(0, count, shots, endpoint=False) + 1e-9).astype(int).tolist()
        assert len(set(numbers)) == shots
        assert numbers[0] == 0
        assert numbers[-1] < count


@pytest.mark.parametrize("shots", [0, 5])
def test_more_shots_than_there_are_frames_are_refused(shots):
    with pytest.raises(ValueError, match=f"{shots} shots out of 4"):
        shot_numbers(4, shots)


def test_whatever_has_reenact_reenacts():
    class Copies:
        def reenact(self, shots, drawings_of_shots, drawing, *, labels=None):
            return Reenacted(shots[:1].expand_as(drawing), None, len(shots), fine_tuned=False)

    module = Copies()
    assert isinstance(module, Reenacts)
    assert not isinstance(torch.nn.Identity(), Reenacts)
    assert module.reenact(torch.ones(2, 3, 4, 4), None, torch.zeros(5, 3, 4, 4)).images.mean() == 1
