import pytest

from command_line.quick.arguments import Arguments
from visionscapes.errors import UserError


def test_complaints_are_one_line_with_a_remedy():
    parser = Arguments(prog="cli.py runs")
    parser.add_argument("--status")
    with pytest.raises(UserError, match=r"^unrecognized arguments: --x: python cli\.py runs --help has what"):
        parser.parse_args(["--x"])
