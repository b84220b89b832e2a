import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from command_line.errors.failures import end_ranks, explain_failure


def test_a_checkpoint_of_another_network_is_named_with_what_differs():
    with pytest.raises(RuntimeError) as misfit:
        nn.Linear(2, 3).load_state_dict(nn.Linear(2, 4).state_dict())
    explained = explain_failure(misfit.value, "LiFT", Path("a.ckpt"), ["model.lr is 1, was 2"])
    assert str(explained).startswith("checkpoint a.ckpt does not fit LiFT (model.lr is 1, was 2): size mismatch")
    assert explain_failure(misfit.value, "LiFT", None, []) is None, "without a checkpoint it is a bug"


def test_an_operator_without_a_deterministic_implementation_is_named():
    error = RuntimeError("roi_align_backward_kernel does not have a deterministic implementation, but you set ...")
    assert "roi_align_backward_kernel has no" in str(explain_failure(error, "Detector", None, []))


@pytest.mark.parametrize("error", [RuntimeError("shapes"), ValueError("x"), KeyError("a"), ZeroDivisionError()])
def test_bugs_are_not_explained(error):
    assert explain_failure(error, "LiFT", Path("a.ckpt"), []) is None


@pytest.mark.parametrize(("at_once", "seconds"), [(True, 60), (False, 0)])
def test_ranks_have_ended_and_nobody_watches_them_any_more(at_once, seconds):
    rank = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])
    launcher = SimpleNamespace(procs=[rank])
    end_ranks(SimpleNamespace(strategy=SimpleNamespace(launcher=launcher)), at_once=at_once)
    assert rank.poll() is not None
    assert launcher.procs == []
