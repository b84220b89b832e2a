"""The table of subcommands says of each function what its signature says."""

import inspect
import subprocess
import sys

import pytest
import yaml

from command_line.subcommands.table import OWN
from visionscapes.bundled import ROOT


@pytest.mark.parametrize("name", OWN)
def test_options_are_those_of_the_function(name):
    _, *parameters = inspect.signature(OWN[name].load()).parameters.values()
    listed = {option.removeprefix("--"): yaml.safe_load(default) for option, default, _ in OWN[name].options}
    assert listed == {each.name: each.default for each in parameters}
    assert set(OWN[name].needs) <= set(OWN[name].builds) <= {"model", "data"}
    assert all(example.startswith(f"python cli.py {name} ") for example in OWN[name].examples)


def test_reading_the_table_imports_no_torch():
    code = "import sys, command_line.subcommands.table; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
