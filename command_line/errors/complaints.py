"""Reads what the parser says of a value: a tree of alternatives, of which one is what was meant."""

import re
from dataclasses import dataclass, replace
from textwrap import dedent

UNION = "Does not validate against any of the Union subtypes"
BASES = ("pytorch_lightning.Callback", "pytorch_lightning.LightningModule", "pytorch_lightning.LightningDataModule")


@dataclass(frozen=True)
class Complaint:
    """What is wrong with one option.

    Attributes:
        option: its full name, such as "model.backbone.layer"; "" if the parser does not say.
        class_path: class whose argument it is, or whose arguments are wrong; "" for an option of the parser itself.
        reasons: what was said of each type that the value might have had, in the parser's words.
        value: as given; "" if the parser does not say.
    """

    option: str = ""
    class_path: str = ""
    reasons: tuple[str, ...] = ()
    value: str = ""


def read(message: str) -> Complaint:
    """Return what a message of the parser says."""
    return _descend(message, Complaint())


def _descend(text: str, found: Complaint) -> Complaint:
    text = dedent(text).strip("\n")
    if key := re.match(r'Parser key "([^"]+)":\s*', text):
        name = key[1].removeprefix("init_args.").replace(".init_args.", ".")
        # A nested parser may repeat the name that the outer one has said.
        same = not found.option or name == found.option or name.startswith(f"{found.option}.")
        option = name if same else f"{found.option}.{name}"
        return _descend(_indented(text, key.end()), replace(found, option=option))
    if given := re.match(r"Problem with given class_path '([^']+)':\s*", text):
        return _descend(_indented(text, given.end()), replace(found, class_path=given[1]))
    if re.search("^Subtypes: ", text, re.MULTILINE):
        last = re.search(r"^Given value: (.*)", text, re.MULTILINE | re.DOTALL)
        errors = re.search(r"^Errors:\n(.*?)(?:^Given value type:|\Z)", text, re.MULTILINE | re.DOTALL)
        found = replace(found, value=_plain(last[1]) if last else found.value)
        return _descend(errors[1] if errors else "", found)
    if text.startswith("- "):
        return _choose([part.replace("\n  ", "\n") for part in re.split(r"\n- ", text[2:])], found)
    reason, got, value = text.partition(". Got value: ")
    words = re.sub(r"\nSubclass types expect one of:.*", "", text, flags=re.DOTALL)
    if got:
        reason, found = reason.strip(), replace(found, value=_plain(value.split("\nSubclass types")[0]))
    return replace(found, reasons=(reason if got else words.strip(),))


def _choose(alternatives: list[str], found: Complaint) -> Complaint:
    """Return what the alternative says that goes deepest, or what all say if none goes anywhere."""
    alternatives = [each for each in alternatives if not each.startswith("Expected a path but")]
    for each in alternatives:
        inside = re.match(r"Problem with given class_path '([^']+)'", each)
        if (inside and inside[1] not in BASES) or each.startswith(("Parser key", UNION)):
            return _descend(each, found)
    for each in alternatives:
        if each.startswith("Problem with given class_path"):
            return _descend(each, found)
    said = [_descend(each, found) for each in alternatives]
    value = next((each.value for each in said if each.value != found.value), found.value)
    return replace(found, reasons=tuple(reason for each in said for reason in each.reasons), value=value)


def _indented(text: str, end: int) -> str:
    """Return what follows the head of a text, whose first line may stand on the line of the head."""
    before = text[:end]
    start = len(before) - len(before.rstrip())
    return before[len(before) - start :].rpartition("\n")[2] + text[end:]


def _plain(value: str) -> str:
    nested = re.match(r"NestedArg\(key='[^']*', val=(.*)\)\Z", value.strip(), re.DOTALL)
    return (nested[1] if nested else value).strip().strip("'")
