import pickle

import pytest
from torch.utils.data import DataLoader

from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError


def refuse(index):
    raise ClipError("a.mp4 shows no face", "no face")


class Faceless:
    def __len__(self):
        return 1

    __getitem__ = staticmethod(refuse)


def test_it_survives_pickling():
    error = pickle.loads(pickle.dumps(ClipError("a.mp4 shows no face", "no face")))
    assert isinstance(error, UserError)
    assert (error.reason, str(error)) == ("no face", "a.mp4 shows no face")


def test_it_survives_the_way_out_of_a_worker():
    with pytest.raises(ClipError, match=r"^a\.mp4 shows no face$"):
        next(iter(DataLoader(Faceless(), num_workers=1)))
