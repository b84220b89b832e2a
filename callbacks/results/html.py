"""Pages as HTML, from templates beside the code that fills them; every name in them is escaped."""

from pathlib import Path
from typing import Any


def render(template: Path, **content: Any) -> str:
    """Return a page.

    A template gets what it shows as variables; ``{% from "table.html" import html_table %}`` gives it the one way in
    which tables look. What stands in ``{{ }}`` is escaped, so that no name of a file, model or class is taken for HTML.

    Args:
        template: the file.
        content: by the names that the template uses.

    Raises:
        jinja2.UndefinedError: the template uses a name that is missing.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(content)
