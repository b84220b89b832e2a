"""In which order face parsers number the 19 classes of CelebAMask-HQ: the files of one are not those of another."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from datamodules.common.label_maps import CELEBA_MASK_NAMES
from datamodules.common.reports import listed
from visionscapes.errors import UserError

UNKNOWN = 255  # of a table: a number that the parser has no class for
FACE_PARSING = (  # of face-parsing.PyTorch, a BiSeNet, and of those who go on from it
    "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose", "mouth",
    "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
)  # fmt: skip
ORDERS: Final = {"celebamask-hq": CELEBA_MASK_NAMES, "face-parsing": FACE_PARSING}


def order_table(order: str) -> NDArray[np.uint8]:
    """Return which class of CelebAMask-HQ every number of a parser is.

    Args:
        order: "celebamask-hq", "face-parsing", or a text file with a number and the name of its class a line, such as
            "17 hair"; several numbers may be of one class, and a class may be missing.

    Returns:
        (256,) uint8, 255 for a number without a class.

    Raises:
        UserError: there is neither such an order nor such a file, or a line of it is something else.
    """
    table = np.full(256, UNKNOWN, np.uint8)
    if order in ORDERS:
        for number, name in enumerate(ORDERS[order]):
            table[number] = CELEBA_MASK_NAMES.index(name)
        return table
    path = Path(order).expanduser()
    if not path.is_file():
        raise UserError(
            f"There is no order of labels called {order}, and no such file: choose {' or '.join(ORDERS)}, or name a"
            ' file with a number and the name of its class a line, such as "17 hair"'
        )
    for place, line in enumerate(listed(path), 1):
        words = line.split()
        known = len(words) == 2 and words[0].isdecimal() and words[1] in CELEBA_MASK_NAMES
        if not known or int(words[0]) >= UNKNOWN:
            raise UserError(
                f"{path}, entry {place}: {line!r} is not a number up to {UNKNOWN - 1} and one of"
                f" {', '.join(CELEBA_MASK_NAMES)}"
            )
        if table[int(words[0])] != UNKNOWN:
            raise UserError(f"{path}, entry {place}: {words[0]} has a class already; give it one")
        table[int(words[0])] = CELEBA_MASK_NAMES.index(words[1])
    return table
