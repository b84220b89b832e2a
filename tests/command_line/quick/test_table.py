import subprocess
import sys

import pytest

import cli
from command_line.quick.table import QUICK
from visionscapes.bundled import ROOT


@pytest.mark.parametrize("name", QUICK)
def test_every_command_has_help_of_its_own(name, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    assert f"usage: cli.py {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["runs"], ["doctor"]])
def test_they_import_no_torch(words, tmp_path):
    code = f"import sys, command_line.help as h; h.answer({words!r}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "HOME": "/nowhere"})
    assert done.returncode == 0


def test_the_overview_names_them(capsys):
    with pytest.raises(SystemExit):
        cli.main([])
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in QUICK)
