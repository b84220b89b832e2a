"""Networks as files, end to end."""

from command_line.subcommands.export import export
from command_line.subcommands.table import OWN


def test_a_module_without_networks_to_export_says_so(fails):
    assert OWN["export"].load() is export
    assert "TinyModule offers no networks to export" in fails(subcommand="export")
