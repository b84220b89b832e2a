"""Seeds for one place in a run, out of the seed of the whole run."""

import hashlib

import numpy as np


def derived_seed(*parts: int) -> int:
    """Return a seed in [0, 2^64) that depends on every part and on their order.

    Args:
        parts: any integers, such as (seed, epoch, index). Compare seeds of equally many parts only: numpy's
            SeedSequence does not tell (seed, epoch) from (seed, epoch, 0).
    """
    return int(np.random.SeedSequence([part % 2**64 for part in parts]).generate_state(1, np.uint64)[0])


def named_seed(seed: int, name: str) -> int:
    """Return a seed in [0, 2^63) that depends on another and on a name alone, such as that of a sample.

    Args:
        seed: of the run.
        name: any text; names of files may hold bytes that are no UTF-8.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode(errors="surrogateescape")).digest()[:8]) >> 1
