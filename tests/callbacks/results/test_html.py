import pytest
from jinja2 import UndefinedError

from callbacks.results.html import render
from callbacks.results.table import Table, TableCell

ODD = '<script>alert(1)</script> & "co"'
SAFE = "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;co&#34;"


def rendered(folder, text, **content):
    template = folder / "page.html"
    template.write_text(text, encoding="utf-8")
    return render(template, **content)


def test_names_are_no_markup(tmp_path):
    assert rendered(tmp_path, '<a title="{{ name }}">{{ names | join(" ") }}</a>\n', name=ODD, names=[ODD]) == (
        f'<a title="{SAFE}">{SAFE}</a>\n'
    )


def test_a_table_in_a_page(tmp_path):
    cells = [TableCell("60.0", best=True, close=True), TableCell("58.0", close=True), TableCell(ODD)]
    table = Table("Title", ["method", "a", "b", ODD], [(ODD, cells)])
    page = rendered(tmp_path, '{% from "table.html" import html_table %}{{ html_table(table) }}', table=table)
    assert f'<th scope="col">b</th><th scope="col">{SAFE}</th></tr>' in page
    assert f'<th scope="row">{SAFE}</th><td><strong>60.0</strong></td><td>58.0 ~</td><td>{SAFE}</td></tr>' in page


def test_a_template_that_uses_what_it_was_not_given(tmp_path):
    with pytest.raises(UndefinedError, match="nothing"):
        rendered(tmp_path, "{{ nothing }}")
