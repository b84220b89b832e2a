"""Seeds for one place in a run, out of the seed of the whole run."""

import numpy as np


def derived_seed(*parts: int) -> int:
    """Return a seed in [0, 2^64) that depends on every part and on their order.

    Args:
        parts: any integers, such as (seed, epoch, index). Compare seeds of equally many parts only: numpy's
            SeedSequence does not tell (seed, epoch) from (seed, epoch, 0).
    """
    return int(np.random.SeedSequence([part % 2**64 for part in parts]).generate_state(1, np.uint64)[0])
