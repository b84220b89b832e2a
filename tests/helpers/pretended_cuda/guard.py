"""The few lines of C++ that let autograd ask for the stream of a device that is not there."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch

SOURCE = Path(__file__).with_name("guard.cpp")


def missing() -> str | None:
    """Return why nothing can be pretended here, or None."""
    if shutil.which("g++") is None:
        return "no g++ to compile the guard of the pretended device"
    if torch.version.cuda is None:
        return "this torch is no build for CUDA, whose kernels are looked up"
    return None


def build(folder: Path | None = None) -> Path:
    """Compile the guard, once for a version of torch and of the source, and return the library."""
    folder = folder or Path(tempfile.gettempdir())
    stamp = f"{os.getuid()}_{torch.__version__}_{SOURCE.stat().st_mtime_ns}"
    library = folder / f"pretended_cuda_{stamp}.so"
    if not library.exists():
        torch_folder, made = Path(torch.__file__).parent, library.with_suffix(f".{os.getpid()}.so")
        command = ["g++", "-O1", "-std=c++20", "-shared", "-fPIC", f"-I{torch_folder / 'include'}", str(SOURCE)]
        subprocess.run([*command, "-o", str(made), f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10"], check=True)
        made.replace(library)  # others may be compiling it too
    return library


def install() -> None:
    """Let torch believe, for the rest of this process, that CUDA is initialised and has one device."""
    ctypes.CDLL(str(build())).pretend()
