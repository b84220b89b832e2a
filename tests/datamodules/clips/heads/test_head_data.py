import pytest
from typing_extensions import override

from datamodules.clips.heads.head_data import HeadData


class Named(HeadData):
    """Has the name of a part in place of it."""

    def __init__(self):
        super().__init__(batch_size=1, num_workers=0, seed=0)

    @override
    def trained(self):
        return "train"

    @override
    def evaluated(self, part):
        return part

    @override
    def predicted(self):
        return "predict"


@pytest.mark.parametrize(
    ("stage", "made"),
    [
        ("fit", {"train_set": "train", "val_set": "val"}),
        ("validate", {"val_set": "val"}),
        ("test", {"test_set": "test"}),
        ("predict", {"predict_set": "predict"}),
    ],
)
def test_a_stage_makes_what_it_needs_and_nothing_else(stage, made):
    data = Named()
    data.setup(stage)
    parts = ("train_set", "val_set", "test_set", "predict_set")
    assert {part: getattr(data, part) for part in parts if hasattr(data, part)} == made
