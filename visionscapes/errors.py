"""The one kind of error that a user causes and can mend."""


class UserError(Exception):
    """An input, file or setting that is wrong: the message names it and says what to do.

    `cli.py` prints the message without a traceback and exits with status 2. Everything else keeps its traceback,
    because it is a bug.
    """

    def __init__(self, message: str):
        if message.startswith("Caught "):  # a DataLoader worker hands over its printed traceback as the message
            message = message.rpartition(f"{type(self).__name__}: ")[2].strip()
        super().__init__(message)
