from types import SimpleNamespace

import numpy as np
import pytest

from callbacks.source_discovery.stage_files import StageFiles


class Stage:
    """Counts how often it is computed."""

    def __init__(self, value):
        self.value, self.computed = value, 0

    def __call__(self):
        self.computed += 1
        return {"labels": np.full(3, self.value)}


def results_of(folder, number=1):
    return StageFiles().stage_results(SimpleNamespace(default_root_dir=str(folder)), number)


def test_a_stage_is_computed_once_for_the_same_inputs(tmp_path):
    stage = Stage(7)
    for _ in range(2):  # as in the run that was killed and in the one that resumes it
        assert results_of(tmp_path)("merge", "inputs", stage)["labels"].tolist() == [7, 7, 7]
    assert stage.computed == 1
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.npz")] == ["rounds/1/merge.npz"]


@pytest.mark.parametrize(("number", "name", "inputs"), [(2, "merge", "a"), (1, "refine", "a"), (1, "merge", "b")])
def test_other_rounds_stages_and_inputs_are_computed(tmp_path, number, name, inputs):
    results_of(tmp_path)("merge", "a", Stage(7))
    assert results_of(tmp_path, number)(name, inputs, Stage(8))["labels"].tolist() == [8, 8, 8]


def test_a_damaged_file_is_computed_anew(tmp_path):
    path = tmp_path / "rounds" / "1" / "merge.npz"
    results_of(tmp_path)("merge", "a", Stage(7))
    whole = path.read_bytes()
    rotten = whole[:-200] + bytes([whole[-200] ^ 1]) + whole[-199:]
    for damaged in (whole[: len(whole) // 2], b"", rotten.replace(b"\x07", b"\x08")):
        path.write_bytes(damaged)
        assert results_of(tmp_path)("merge", "a", Stage(7))["labels"].tolist() == [7, 7, 7]
        assert path.read_bytes() == whole
