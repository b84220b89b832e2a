from types import SimpleNamespace

import pytest

from lightning_modules.known_classes import check_classes
from visionscapes.errors import UserError


def test_more_classes_than_outputs_end_a_training_and_fewer_are_told(caplog):
    data = SimpleNamespace(class_names=["cat", "dog", "owl"])
    check_classes(3, data)
    check_classes(2, SimpleNamespace())
    check_classes(2, None)
    assert not caplog.records
    with pytest.raises(UserError, match=r"3 classes \(cat, dog, owl\) and the model 2 outputs: set .*classes=3"):
        check_classes(2, data)
    check_classes(12, data)
    assert "fewer than the model's 12: set --model.init_args.classes=3" in caplog.text
