"""Names of files as annotations give them, which lead nowhere but into the folder of the data set."""

import os
from collections.abc import Iterable
from pathlib import Path

from visionscapes.errors import UserError


def refuse_escape(names: Iterable[str], source: Path) -> None:
    """Refuse names that leave by ".." the folder that they are looked for in, such as "../../etc/passwd".

    Absolute paths and links say plainly where they lead, and stay allowed.

    Args:
        names: of files or folders, as ``source`` has them.
        source: the file that lists them.

    Raises:
        UserError: one does.
    """
    for name in names:
        if ".." in name and not os.path.isabs(name) and os.path.normpath(name).split(os.sep)[0] == os.pardir:
            raise UserError(
                f"{source} names {name!r}, which leads out of the folder of the data set: name files within it, or by "
                "their absolute path"
            )
