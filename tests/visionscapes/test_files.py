import ast
import errno
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from tests.helpers.full_disk import largest_file
from visionscapes.files import (
    atomic_write,
    lasting,
    make_folder,
    overwrite_bytes,
    remedy,
    write_bytes,
    write_json,
    write_text,
)

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("benchmarks", "callbacks", "command_line", "datamodules", "experiments", "lightning_modules", "metrics")
SOURCES += ("networks", "visionscapes")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_the_place_of_the_old_one_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    write_bytes(path, b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["a.bin"]


def interrupted(path: Path, error: type[BaseException] | BaseException) -> None:
    with atomic_write(path, "w") as file:
        file.write("new")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.txt"
    for before in ([], ["a.txt"]):
        with pytest.raises(error):
            interrupted(path, error)
        assert names(tmp_path) == before
        write_text(path, "old")
    assert path.read_text() == "old"


@pytest.mark.parametrize("size", [0, 5000, 99_999])
def test_a_full_disk_leaves_what_was_there(tmp_path, size):
    """The last bytes are refused when the file is closed, not when they are written."""
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with largest_file(size), pytest.raises(OSError, match="too large") as refused:
        write_text(path, "x" * 100_000)
    assert refused.value.errno == errno.EFBIG
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_text_is_utf_8_and_options_are_those_of_open(tmp_path):
    write_text(tmp_path / "a.txt", "größe\n")
    assert (tmp_path / "a.txt").read_bytes() == "größe\n".encode()
    write_text(tmp_path / "a.txt", "a\nb\udcff", newline="\r\n", errors="surrogateescape")
    assert (tmp_path / "a.txt").read_bytes() == b"a\r\nb\xff"
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "\udcff")
    assert names(tmp_path) == ["a.txt"]


def test_json_ends_with_a_new_line(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, None]})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": [\n    1,\n    null\n  ]\n}\n'
    write_json(tmp_path / "a.json", {"b": [1]}, indent=None)
    assert (tmp_path / "a.json").read_text() == '{"b": [1]}\n'
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"b": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1]}


def test_the_longest_names(tmp_path):
    for name in ("x" * 255, "é" * 127):
        write_bytes(tmp_path / name, b"content")
    assert names(tmp_path) == ["x" * 255, "é" * 127]


def test_others_may_read_the_file_as_they_may_any(tmp_path):
    (tmp_path / "plain").write_text("")
    write_text(tmp_path / "atomic", "")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_is_replaced_and_what_it_points_to_is_not(tmp_path):
    write_text(tmp_path / "best.ckpt", "best")
    (tmp_path / "last.ckpt").symlink_to("best.ckpt")
    write_text(tmp_path / "last.ckpt", "last")
    assert (tmp_path / "best.ckpt").read_text() == "best"
    assert (tmp_path / "last.ckpt").read_text() == "last"


def test_a_pipe_is_written_to_as_it_is(tmp_path):
    pipe, found = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(timeout=10)
    assert found == ["through"]
    assert pipe.is_fifo()


def test_what_is_no_place_for_a_file(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("stays")
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "x")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        write_text(tmp_path / "file" / "below", "x")
    assert (tmp_path / "file").read_text() == "stays"
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_durable_file_is_on_the_disk_before_it_replaces_the_old_one(tmp_path, monkeypatch, durable):
    path, sizes, synced = tmp_path / "a.ckpt", [], os.fsync
    write_bytes(path, b"old")

    def fsync(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        assert path.read_bytes() == b"old"
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_write(path, durable=durable) as file:
        file.write(b"new content")
    assert sizes == ([11] if durable else [])


# Nobody else opens files for writing.

# (module, call): why it is none of that, or allowed.
ALLOWED = {
    # Into a folder that is staged as a whole and moved when the last picture is there.
    ("callbacks/generation/translation_writer.py", "Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)"),
    # Into what atomic_write has opened, the second by its name.
    ("visionscapes/media/sound.py", "wave.open(file, 'wb')"),
    (
        "visionscapes/media/video_writer.py",
        "av.open(os.path.abspath(file.name), 'w', format='mp4', options={'movflags': '+faststart'})",
    ),
    # A record, which `Records` writes atomically.
    ("experiments/runs.py", "self.records.save(record)"),
    # Files that are named `unfinished` until they were held against the module, and then moved.
    ("visionscapes/exporting/programs.py", "torch.export.save(program, path, extra_files={ABOUT: json.dumps(about)})"),
    ("visionscapes/exporting/programs.py", "model.save(path, external_data=False)"),
    ("visionscapes/exporting/programs.py", "Path(os.devnull).open('w')"),
    # Lines that are appended one by one, of which a torn last one is passed over.
    ("visionscapes/json_lines.py", "path.open('ab')"),
    # A part of each process in the staged folder, which `conclude` writes as one file.
    ("callbacks/detection/detection_writer.py", "self._lines_of(trainer, rank_and_world_size()[0]).open('wb')"),
    # Lightning's own appending of rows, which is taken back where it fails.
    ("callbacks/run/run_log.py", "super().save()"),
}
# Function or method -> position of the file among its arguments.
WRITERS = {
    **dict.fromkeys(("save", "savefig", "savez", "savez_compressed", "savetxt", "tofile", "to_csv", "to_json"), 0),
    **dict.fromkeys(("torch.save", "dump", "safe_dump", "save_file", "save_image", "write_png", "write_jpeg"), 1),
}
BY_HAND = {"write_text", "write_bytes", "NamedTemporaryFile", "mkstemp"}
# What files in memory and those of ``atomic_write`` are bound to.
OPENED = ("atomic_write(", ".enter_context(atomic_write(", "BytesIO(", "StringIO(")


def written_by_hand(source: str) -> list[str]:
    """Return the calls of a module that write files otherwise than to what ``atomic_write`` has opened."""
    tree = ast.parse(source)
    opened: dict[ast.AST, set[str]] = {}
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        names = _opened(function)
        opened |= {node: names | opened.get(node, set()) for node in ast.walk(function) if isinstance(node, ast.Call)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [ast.unparse(call) for call in calls if _by_hand(call, opened.get(call, set()))]


def _by_hand(call: ast.Call, opened: set[str]) -> bool:
    function, method = call.func, isinstance(call.func, ast.Attribute)
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name == "open":
        return ast.unparse(function) != "Image.open" and any(set(mode) & set("wax+") for mode in _modes(call))
    if name in BY_HAND:
        return method  # of a path; ours are functions
    if name not in WRITERS or (name == "save" and not method):  # safetensors' save returns bytes
        return False
    place = WRITERS.get(ast.unparse(function), WRITERS[name])
    if len(call.args) <= place:
        return name not in ("dump", "safe_dump")  # which return text then
    file = call.args[place]
    return not (isinstance(file, ast.Name) and file.id in opened)


def _modes(call: ast.Call) -> list[str]:
    """Return what may be the mode among the arguments of ``open``, of the function or of a path."""
    values = [*call.args[:2], *(word.value for word in call.keywords if word.arg == "mode")]
    texts = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return [text for text in texts if len(text) <= 3]


def _opened(function: ast.FunctionDef) -> set[str]:
    names = set()
    for node in ast.walk(function):
        items: list[tuple[ast.expr, ast.expr | None]] = []
        if isinstance(node, ast.With):
            items = [(item.context_expr, item.optional_vars) for item in node.items]
        elif isinstance(node, ast.Assign):
            items = [(node.value, target) for target in node.targets]
        for value, target in items:
            if isinstance(value, ast.Call) and isinstance(target, ast.Name):
                names |= {target.id} if any(each in ast.unparse(value) for each in OPENED) else set()
    return names


def test_nobody_else_writes_files():
    paths = [ROOT / "cli.py", *(path for package in SOURCES for path in (ROOT / package).rglob("*.py"))]
    found = {
        (path.relative_to(ROOT).as_posix(), call)
        for path in paths
        if path != ROOT / "visionscapes" / "files.py"
        for call in written_by_hand(path.read_text())
    }
    assert found - ALLOWED == set(), "write to what visionscapes.files.atomic_write opens"
    assert ALLOWED - found == set(), "allowed, but not there any more"


@pytest.mark.parametrize(
    "statement",
    [
        "open(path, 'w')",
        "open(path, mode='ab')",
        "path.open('wb')",
        "path.open(mode='x')",
        "os.fdopen(handle).open('r+')",
        "path.write_text('x')",
        "(folder / name).write_bytes(content)",
        "np.save(path, array)",
        "np.savez(file, a=array)",
        "figure.savefig(path)",
        "image.save(folder / name)",
        "torch.save(state, path)",
        "json.dump(content, file)",
        "save_file(state, path)",
        "table.to_csv(path)",
        "tempfile.NamedTemporaryFile()",
    ],
)
def test_what_counts_as_writing_by_hand(statement):
    assert len(written_by_hand(f"def f():\n    {statement}\n")) == 1
    assert len(written_by_hand(statement)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "open(path)",
        "path.open('rb')",
        "Image.open('w')",
        "write_text(path, 'x')",
        "with atomic_write(path) as file: np.save(file, array)",
        "with atomic_write(path) as file: torch.save(state, file)",
        "file = stack.enter_context(atomic_write(path, 'w')); json.dump(content, file)",
        "buffer = io.BytesIO(); image.save(buffer, 'PNG')",
        "save({'features': features}, readable)",
        "parser.dump(config)",
        "text = json.dumps(content)",
    ],
)
def test_what_does_not(statement):
    assert written_by_hand(f"def f():\n    {statement}\n") == []


def test_a_folder_that_is_to_last_is_not_made_anew(tmp_path):
    run = tmp_path / "run"
    path = run / "results" / "a.csv"
    with lasting(run):
        run.mkdir()
        write_text(path, "1")
        shutil.rmtree(run)
        for write in (lambda: write_text(path, "2"), lambda: make_folder(run / "pictures")):
            with pytest.raises(FileNotFoundError, match="the folder of the run was deleted"):
                write()
        assert not run.exists()
        write_text(tmp_path / "other.csv", "3")
    write_text(path, "4")


def test_an_error_has_the_name_of_the_file(tmp_path, monkeypatch):
    """The system names none where the disk is full, and torch raises another error on top."""
    path = tmp_path / "a.bin"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write_as_torch_does() -> None:
        with atomic_write(path):
            try:
                raise full
            finally:
                raise RuntimeError("unexpected pos 64 vs 0")

    for write in (lambda: interrupted(path, full), write_as_torch_does):
        with pytest.raises(OSError, match=r"No space left on device: '.*/a\.bin'") as refused:
            write()
        assert remedy(refused.value) == "free some space"
    assert names(tmp_path) == []


def test_a_small_file_is_written_over_in_the_room_that_it_has(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_bytes(b"x" * 3000)
    assert overwrite_bytes(path, b"y" * 3500)
    assert path.read_bytes() == b"y" * 3500
    assert not overwrite_bytes(path, b"z" * 1_000_000)
    assert path.read_bytes() == b"y" * 3500
