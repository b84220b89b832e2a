"""Every file of the source has a test of the same name in the same place, or says here where it is tested."""

import ast
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = (
    "command_line",
    "visionscapes",
    "lightning_modules",
    "networks",
    "metrics",
    "datamodules",
    "callbacks",
    "experiments",
    "benchmarks",
)
PACKAGES = ("lightning_modules", "networks", "callbacks", "datamodules")  # that export names
MODULES = sorted(
    str(path.relative_to(ROOT))
    for folder in SOURCES
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "__init__.py"
)
# Source file: the test file that covers it, and why it has none of its own.
ELSEWHERE: dict[str, tuple[str, str]] = {
    "command_line/lightning_cli.py": ("tests/test_cli.py", "what it does is seen by running cli.py"),
    "lightning_modules/grit/baselines/pix2pixhd.py": (
        "tests/lightning_modules/grit/test_module.py",
        "the three modules of chapter 5 are asked the same",
    ),
    "lightning_modules/grit/baselines/spade.py": (
        "tests/lightning_modules/grit/test_module.py",
        "the three modules of chapter 5 are asked the same",
    ),
    "networks/detection/labelled.py": ("tests/networks/detection/test_two_stage.py", "tuples without behaviour"),
    "datamodules/celeba_mask_hq.py": ("tests/datamodules/test_commands.py", "runs a command that stands elsewhere"),
    "datamodules/detection_scenes.py": ("tests/datamodules/test_commands.py", "runs a command that stands elsewhere"),
    "datamodules/sparse_annotations.py": ("tests/datamodules/test_commands.py", "runs a command that stands elsewhere"),
    "datamodules/voc_detection.py": ("tests/datamodules/test_commands.py", "runs a command that stands elsewhere"),
    "datamodules/procedural/scenes/object_classes.py": (
        "tests/datamodules/procedural/scenes/test_scenes.py",
        "a table of shapes, which is seen when it is drawn",
    ),
    "callbacks/source_discovery/cluster_page.py": (
        "tests/callbacks/source_discovery/test_cluster_report.py",
        "the page that this callback writes",
    ),
    "callbacks/results/array_files.py": ("tests/callbacks/results/test_array_store.py", "the store writes these files"),
    **{
        f"callbacks/vit_analysis/report/{name}.py": (
            "tests/callbacks/vit_analysis/report/test_draw.py",
            "every figure and table is drawn once, from made-up arrays",
        )
        for name in ("attention_figures", "downstream_figures", "exhibits", "feature_figures", "page")
    },
    "experiments/tables.py": ("tests/experiments/test_loading.py", "what a table file is read into"),
    "benchmarks/plain.py": ("tests/benchmarks/test_lift.py", "the plain way is compared with ours"),
    "benchmarks/plain_gan_discovery.py": (
        "tests/lightning_modules/gan_discovery/test_detectors.py",
        "the plain way is compared with ours",
    ),
    "benchmarks/plain_grit.py": ("tests/benchmarks/test_grit.py", "the plain way is compared with ours"),
    "benchmarks/plain_lsr.py": ("tests/benchmarks/test_lsr.py", "the plain way is compared with ours"),
    "benchmarks/plain_diff2lip.py": ("tests/benchmarks/test_diff2lip.py", "the plain way is compared with ours"),
    "benchmarks/plain_vit.py": ("tests/benchmarks/test_vit_analysis.py", "the plain way is compared with ours"),
}


def mirror_of(source: str) -> Path:
    """Return where the test of a source file stands; that of ``__main__.py`` is test_main.py."""
    path = Path(source)
    return Path("tests") / path.parent / f"test_{path.stem.strip('_')}.py"


def dotted(path: Path | str) -> str:
    return ".".join(Path(path).with_suffix("").parts)


@cache
def named_modules(path: Path) -> frozenset[str]:
    """Return what a file imports, as modules and as names in them, and the modules that it names in a string."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            names.add(node.value)
    return frozenset(names)


def exported_names(source: str) -> set[str]:
    """Return the names under which packages export what a source file defines, such as networks.LiFTBlock."""
    return {
        f"{package}.{name}"
        for package in PACKAGES
        for name, module in import_module(package).EXPORTS.items()
        if module == dotted(source)
    }


def reaches(test: Path, source: str) -> bool:
    """Return whether a test imports a source file, or a file of the source that imports it."""
    named = named_modules(test)
    if named & {dotted(source), *exported_names(source)}:
        return True
    between = [other for other in [*MODULES, "cli.py"] if dotted(other) in named and other != source]
    return any(dotted(source) in named_modules(Path(other)) for other in between)


@pytest.mark.parametrize("source", MODULES)
def test_every_source_file_is_tested_in_its_mirror_or_where_the_table_says(source: str) -> None:
    mirror = mirror_of(source)
    if (ROOT / mirror).exists():
        assert source not in ELSEWHERE, f"{mirror} exists: take {source} out of the table"
        test = mirror
    else:
        assert source in ELSEWHERE, f"write {mirror}, or say in ELSEWHERE which file tests {source} and why"
        test = Path(ELSEWHERE[source][0])
        assert (ROOT / test).exists(), f"{test} is gone"
    assert reaches(test, source), f"{test} does not import {source}"
    assert "def test_" in (ROOT / test).read_text()


def test_the_table_names_files_that_exist_and_gives_reasons() -> None:
    assert ELSEWHERE.keys() <= set(MODULES)
    assert all(reason for _, reason in ELSEWHERE.values())
