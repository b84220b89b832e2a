"""Options of the commands that need no torch."""

from argparse import ArgumentParser
from typing import NoReturn

from typing_extensions import override

from visionscapes.errors import UserError


class Arguments(ArgumentParser):
    """A parser whose complaints are one line, as those of all other commands."""

    @override
    def error(self, message: str) -> NoReturn:
        """Say what is wrong.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message}: python {self.prog} --help has what can be given")
