"""The one kind of error that a user causes and can mend, and other errors in its words."""

import re
import sys

# Letters of a path or a value that a message repeats; of longer ones the end stays too, for a file is known by it.
LONGEST_WORD, LETTERS_AT_THE_END = 300, 100


class UserError(Exception):
    """An input, file or setting that is wrong: the message names it and says what to do.

    `cli.py` prints the message without a traceback and exits with status 2. Everything else keeps its traceback,
    because it is a bug.
    """

    def __init__(self, message: str):
        if message.startswith("Caught "):  # a DataLoader worker hands over its printed traceback as the message
            message = message.rpartition(f"{type(self).__name__}: ")[2].strip()
        super().__init__(message)


def in_words(error: BaseException, most: int = 200) -> str:
    """Return what an error says, of whatever class, for use within a message: without the bytes that were read.

    Args:
        error: as caught from a reader.
        most: characters.
    """
    text = f"{type(error).__name__}: {error}" if isinstance(error, UnicodeError) else repr(error)
    return text if len(text) <= most else f"{text[:most]} ..."


def tell(message: object) -> int:
    """Print what the user has to mend, long words cut, and return the exit status of a command that ends with it, 2."""
    text = re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: _cut(word[0]), str(message))
    print(f"error: {text}", file=sys.stderr)
    return 2


def _cut(word: str) -> str:
    return f"{word[: LONGEST_WORD - LETTERS_AT_THE_END]}...{word[-LETTERS_AT_THE_END:]}"
