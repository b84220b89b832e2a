import ast
import importlib
import importlib.util
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from networks.detection import ops
from networks.detection.ops import NAME, OPERATORS, StandIn, ensure_ops
from visionscapes.errors import UserError


def test_mmcv_imports_and_finds_the_stand_in():
    ensure_ops()
    import mmcv.ops

    assert importlib.util.find_spec(NAME) is not None  # raises ValueError for a module without a spec
    assert mmcv.ops.nms.__module__ == "mmcv.ops.nms"


def test_only_calling_an_absent_operator_fails_and_says_what_would_have_it():
    operator = StandIn().nms_rotated
    with pytest.raises(UserError, match=r"'nms_rotated'.*mmcv 2\.1"):
        operator(1, threshold=2)


def test_dunder_names_are_absent():
    module = StandIn()
    assert not hasattr(module, "__path__")
    assert not hasattr(module, "__wrapped__")
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(module)


def calls_in_mmcv():
    """Name, number of positional arguments and keywords of every call of a compiled operator."""
    folder = Path(importlib.util.find_spec("mmcv").submodule_search_locations[0]) / "ops"
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("ext_module."):
                yield node.func.attr, len(node.args), [keyword.arg for keyword in node.keywords]


def test_mmcv_calls_the_operators_by_their_names_and_signatures():
    operators = {operator.__name__: operator for operator in OPERATORS}
    assert len(operators) == len(OPERATORS)
    called = set()
    for name, positional, keywords in calls_in_mmcv():
        # softnms has a second call, for another compiler, with the arguments in a dictionary
        if name in operators and None not in keywords:
            inspect.signature(operators[name]).bind(*range(positional), **dict.fromkeys(keywords))
            called.add(name)
    assert called == operators.keys() - {"nms_match"}  # its only call has them in a dictionary


def test_an_importable_compiled_module_is_left_alone(monkeypatch):
    compiled = ModuleType(NAME)
    monkeypatch.setitem(sys.modules, NAME, compiled)
    ensure_ops()
    assert sys.modules[NAME] is compiled

    monkeypatch.delitem(sys.modules, NAME)
    monkeypatch.setattr(ops.importlib, "import_module", lambda name: compiled)
    ensure_ops()
    assert NAME not in sys.modules  # the import puts it there, not we


@pytest.mark.slow
def test_a_fresh_process_imports_mmdet_after_the_stand_in():
    code = "from networks.detection.ops import ensure_ops; ensure_ops(); import mmdet.models, mmcv; mmcv._ext.nms"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
