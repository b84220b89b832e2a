"""The one kind of error that a user causes and can mend."""


class UserError(Exception):
    """An input, file or setting that is wrong: the message names it and says what to do.

    `cli.py` prints the message without a traceback and exits with status 2. Everything else keeps its traceback,
    because it is a bug.
    """
