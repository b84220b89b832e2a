"""A plugin of pytest that runs the chosen tests on the pretended device and writes what it found to a file."""

import json
from pathlib import Path

import pytest

from tests.helpers.pretended_cuda import findings, patches


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pretended-cuda", metavar="FILE", type=Path, help="where the findings go, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    patches.install()


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("--pretended-cuda")
    if file is not None:
        file.write_text(json.dumps(findings.report(), indent=1))
