"""JSON files as other people's tools write them: their encodings, and where an entry stands in the file."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datamodules.common.reports import report
from visionscapes.errors import UserError, in_words

GET_AGAIN = "get the file again, or correct what wrote it"
LONGEST_VALUE = 60  # characters, of a value that a message repeats
SINGULAR = {"annotations": "annotation", "images": "picture", "categories": "category"}


class EntryProblem(ValueError):
    """An entry of a list in the file that cannot be taken as it is.

    Args:
        name: of the list, "annotations".
        place: of the entry in it, from 0.
        problem: what is wrong with which field.
        fix: what to do about it, in the imperative.
        entry_id: of the entry, None if it has none.
    """

    def __init__(self, name: str, place: int, problem: str, *, fix: str, entry_id: Any = None):
        super().__init__(problem)
        self.name, self.place, self.problem, self.fix, self.entry_id = name, place, problem, fix, entry_id


@dataclass(frozen=True)
class JsonFile:
    """The text of a JSON file.

    Attributes:
        path: of the file.
        text: its content.
    """

    path: Path
    text: str

    def parsed(self, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
        """Return the content.

        Args:
            hook: is given every object of the file, the inner ones first, and returns what to have in its place.

        Raises:
            UserError: it is no JSON, or cut off.
            EntryProblem: as ``hook`` raises it.
        """
        try:
            return json.loads(self.text, object_hook=hook)
        except json.JSONDecodeError as error:
            raise UserError(f"{self.path} is no JSON or is cut off ({error}): {GET_AGAIN}") from error
        except (RecursionError, ValueError) as error:
            if isinstance(error, EntryProblem):
                raise
            raise UserError(f"{self.path} is no JSON file of annotations ({in_words(error)}): {GET_AGAIN}") from error

    def named(self, name: str, place: int, entry_id: Any = None) -> str:
        """Return what to call an entry of a list in messages: its id, its place, and its line if there are lines."""
        known = "" if entry_id is None else f" {shortened(entry_id)}"
        line = self.line(name, place)
        return f'{SINGULAR[name]}{known} (entry {place + 1} of "{name}"{f", {line}" if line else ""})'

    def error(self, problem: EntryProblem) -> UserError:
        """Return the error to raise for a problem."""
        entry = self.named(problem.name, problem.place, problem.entry_id)
        return UserError(f"{self.path}: {entry}: {problem.problem}: {problem.fix}")

    def line(self, name: str, place: int) -> str:
        """Return the line in which an entry begins, "line 12", or the character if all stands in one; "" if unknown.

        It goes through the text again, so it is for messages only.
        """
        try:
            position = _start_of_entry(self.text, name, place)
        except (ValueError, IndexError, KeyError, RecursionError):
            return ""
        if "\n" not in self.text.strip():
            return f"character {position + 1}"
        return f"line {self.text.count(chr(10), 0, position) + 1}"


def read_json_file(path: Path) -> JsonFile:
    """Read a file in any encoding of Unicode, with or without a byte order mark.

    Raises:
        UserError: it cannot be read, or is no such text.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a file of annotations") from error
    encoding = json.detect_encoding(raw)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is no {encoding.upper()} text (byte {error.start + 1} is {raw[error.start]:#04x}): save it as "
            "UTF-8, or get it again"
        ) from error
    if not encoding.startswith("utf-8"):
        report("%s is written in %s and not in UTF-8; it is read as such", path, encoding.upper())
    return JsonFile(path, text)


def quick_categories(file: JsonFile) -> dict[Any, str] | None:
    """Return the names of the categories by their ids without reading the rest; None if they are not seen at once."""
    try:
        position = _after_space(file.text, file.text.rindex('"categories"') + len('"categories"'))
        found, _ = json.JSONDecoder().raw_decode(file.text, _after_space(file.text, position + 1))
        return {each["id"]: each["name"] for each in found}
    except (ValueError, IndexError, KeyError, TypeError, RecursionError):
        return None


def shortened(value: Any) -> str:
    """Return a value as messages repeat it."""
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def _start_of_entry(text: str, name: str, place: int) -> int:
    """Return where an entry of a list of the outermost object begins."""
    position = _after_space(text, text.index("{") + 1)
    value_at = json.JSONDecoder().raw_decode
    while True:
        key, position = value_at(text, position)
        position = _after_space(text, _after_space(text, position) + 1)  # over the colon
        if key == name:
            break
        _, position = value_at(text, position)
        position = _after_space(text, _after_space(text, position) + 1)  # over the comma
    position = _after_space(text, position + 1)
    for _ in range(place):
        _, position = value_at(text, position)
        position = _after_space(text, _after_space(text, position) + 1)
    return position


def _after_space(text: str, position: int) -> int:
    while text[position] in " \t\r\n":
        position += 1
    return position
