from types import SimpleNamespace

import pytest

from lightning_modules.known_classes import KnownClasses, check_classes, check_same_classes
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


def test_a_test_on_other_classes_is_refused():
    data = SimpleNamespace(class_names=["cat", "dog"])
    check_same_classes(["cat", "dog"], data)
    check_same_classes([], data)
    check_same_classes(["cat", "dog"], None)
    for trained in (["dog", "cat"], ["cat", "dog", "owl"], ["cafe", "dog"]):
        with pytest.raises(UserError, match=r"was trained on the classes .*, and the data have cat, dog, so that"):
            check_same_classes(trained, data)


class Classifier(KnownClasses):
    classes = 2


def test_a_checkpoint_keeps_the_classes_of_its_training():
    module, other, checkpoint = Classifier(), Classifier(), {}
    module._trainer = SimpleNamespace(datamodule=SimpleNamespace(class_names=["cat", "dog"]))
    module.on_fit_start()
    module.on_save_checkpoint(checkpoint)
    other.on_load_checkpoint(checkpoint)
    other._trainer = SimpleNamespace(datamodule=SimpleNamespace(class_names=["a", "b"]))
    with pytest.raises(UserError, match="trained on the classes cat, dog, and the data have a, b"):
        other.on_test_start()
    other.on_load_checkpoint({})  # of an earlier version
    other.on_test_start()
