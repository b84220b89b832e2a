"""Two processes that train or evaluate together, as torchrun would start them."""

import os
import socket
from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.spawn import spawn


def two_processes(work: Callable[..., None], *arguments: Any) -> None:
    """Run ``work(rank, *arguments)`` in two new processes; an exception in one of them is raised here.

    Args:
        work: stands in a module, so that the processes can import it.
        arguments: anything that can be pickled.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn(_rank, (port, work, arguments), nprocs=2)


def _rank(rank: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    torch.set_num_threads(1)
    work(rank, *arguments)
