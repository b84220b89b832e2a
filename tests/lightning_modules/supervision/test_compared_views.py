from types import SimpleNamespace

import pytest

from lightning_modules.supervision.compared_views import compared_views
from visionscapes.errors import UserError


def test_one_view_is_compared_with_nothing():
    two = SimpleNamespace(images=["a", "b"])
    assert compared_views({"views": two}, "DINO") is two
    with pytest.raises(UserError, match=r"DINO compares views.*--data\.views\.large_views"):
        compared_views({"views": SimpleNamespace(images=["a"])}, "DINO")
