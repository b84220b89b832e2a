"""The index page of a report: one HTML file without scripts that reads well on a phone and on a wide screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from callbacks.vit_analysis.report.arrays import AnalysedModel
from callbacks.vit_analysis.report.exhibits import Exhibit
from callbacks.vit_analysis.report.style import RANDOM
from callbacks.vit_analysis.report.tables import Table

STYLE = """
:root { color-scheme: light; --ink: #1c1e21; --soft: #5a6068; --line: #dfe2e6; --accent: #0060a8; }
* { box-sizing: border-box; }
html { overflow-wrap: break-word; scroll-padding-top: 3.5rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: #fff; font: 1rem/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
header, main, footer { max-width: 1240px; margin: 0 auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1.5rem 0 .5rem; }
h2 { font-size: 1.4rem; margin: 2.5rem 0 .25rem; padding-top: .75rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.06rem; line-height: 1.35; margin: 2rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; }
a { color: var(--accent); }
nav { position: sticky; top: 0; z-index: 1; background: #fff; border-bottom: 1px solid var(--line); }
nav div { max-width: 1240px; margin: 0 auto; padding: 0 .5rem; display: flex; flex-wrap: wrap; }
nav a { padding: .65rem .5rem; text-decoration: none; font-weight: 600; }
.note { border-left: 4px solid #E69F00; background: #fdf6e7; padding: .6rem .9rem; max-width: 46rem; margin: .8rem 0; }
.note p { overflow-wrap: anywhere; }
.note p { margin: .2rem 0; }
main h2:first-child { border-top: 0; margin-top: 0; }
.figures { display: grid; gap: 0 2.5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 540px), 1fr)); }
figure { margin: 0; min-width: 0; }
.wide { grid-column: 1 / -1; }
figcaption { color: var(--soft); max-width: 46rem; font-size: .95rem; }
.pictures { display: grid; gap: 1rem; margin-top: .7rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, var(--narrowest)), 1fr)); }
.picture p { font-size: .9rem; font-weight: 600; margin: 0 0 .2rem; }
.picture img { display: block; max-width: 100%; height: auto; }
.table { overflow-x: auto; margin: .7rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--ink); }
th:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
@media (max-width: 600px) { table { font-size: .85rem; } th, td { padding: .35rem .4rem; } }
footer { margin-top: 3rem; padding-bottom: 3rem; color: var(--soft); font-size: .9rem; }
"""
SECTIONS = {
    "how": ("How", "How do the models process information? Attention (thesis sections 2.3 and 2.7.4)."),
    "what": ("What", "What do the models learn to represent? Features (thesis sections 2.4 and 2.7.5)."),
    "why": ("Why", "Why use the models? Downstream tasks (thesis sections 2.5 and 2.7.6)."),
}


WIDE = 1000  # pixels; a picture up to it is still legible in half a page


@dataclass(frozen=True)
class Shown:
    """A picture on disk.

    Attributes:
        path: from the page, with forward slashes.
        title: what it shows.
        width: in pixels.
        height: in pixels.
    """

    path: str
    title: str
    width: int
    height: int


@dataclass(frozen=True)
class Content:
    """All that the page shows.

    Attributes:
        models: that were analysed.
        data: where the figures come from, a sentence for every caption; empty if unknown.
        embedded: names of the embedded worlds among the data.
        figures: by section ("how", "what", "why"), exhibits with their pictures.
        tables: with the paths of their CSV and Markdown, from the page.
        absent: numbers of the figures and tables for which nothing was measured.
        problems: files that could not be read and figures that could not be drawn.
    """

    models: Sequence[AnalysedModel]
    data: str
    embedded: Sequence[str]
    figures: dict[str, list[tuple[Exhibit, list[Shown]]]]
    tables: Sequence[tuple[Table, str, str]]
    absent: Sequence[str]
    problems: Sequence[str]


def page(content: Content) -> str:
    """Return the page as HTML; all links are relative, so that its folder can be moved."""
    links = [(key, title) for key, (title, _) in SECTIONS.items() if content.figures.get(key)]
    links += [("tables", "Tables")] if content.tables else []
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<title>Analysis of vision transformers by supervision</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            "<header>",
            "<h1>How supervision shapes vision transformers</h1>",
            "<p>Attention, features and downstream tasks of every layer, after chapter 2 of the thesis. Numbers of "
            "figures and tables are those of the thesis; layers and heads count from 1. Every picture opens in full "
            "size.</p>",
            _notes(content),
            "</header>",
            "<nav><div>",
            *(f'<a href="#{key}">{title}</a>' for key, title in [("models", "Models"), *links]),
            "</div></nav>",
            "<main>",
            '<h2 id="models">Models</h2>',
            _models(content.models),
            *(_section(key, content) for key in SECTIONS if content.figures.get(key)),
            _tables(content),
            "</main>",
            "<footer>",
            _footer(content),
            "</footer>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _notes(content: Content) -> str:
    notes = []
    if content.embedded:
        worlds = " and ".join(escape(name) for name in content.embedded)
        notes.append(
            f"The data are embedded ({worlds}): small procedural images. The figures hold for them only; their numbers "
            "are not to be compared with the thesis', which come from ImageNet, COCO, DAVIS and others."
        )
    notes += [escape(problem) for problem in content.problems]
    return f'<div class="note">{"".join(f"<p>{note}</p>" for note in notes)}</div>' if notes else ""


def _section(key: str, content: Content) -> str:
    title, question = SECTIONS[key]
    shown = [_figure(exhibit, pictures, content) for exhibit, pictures in content.figures[key]]
    return "\n".join([f'<h2 id="{key}">{title}</h2>', f"<p>{question}</p>", '<div class="figures">', *shown, "</div>"])


def _figure(exhibit: Exhibit, pictures: Sequence[Shown], content: Content) -> str:
    note = exhibit.note(content.models)
    caption = " ".join(escape(text) for text in (exhibit.look_for, note, content.data) if text)
    # One small picture leaves room for the next figure beside it.
    kind = "wide" if len(pictures) > 1 or pictures[0].width > WIDE else "narrow"
    return "\n".join(
        [
            f'<figure id="figure-{exhibit.number}" class="{kind}">',
            f"<h3>Figure {exhibit.number}: {escape(exhibit.title)}</h3>",
            f"<figcaption>{caption}</figcaption>",
            f'<div class="pictures" style="--narrowest: {exhibit.narrowest}px">',
            *(_picture(one, f"Figure {exhibit.number}. {one.title}") for one in pictures),
            "</div>",
            "</figure>",
        ]
    )


def _picture(one: Shown, alternative: str) -> str:
    path = escape(one.path)
    return (
        f'<div class="picture"><p>{escape(one.title)}</p><a href="{path}"><img src="{path}" width="{one.width}" '
        f'height="{one.height}" loading="lazy" alt="{escape(alternative)}"></a></div>'
    )


def _models(models: Sequence[AnalysedModel]) -> str:
    header = ["Model", "Layers", "Heads", "Patch (px)", "Image (px)", "Token grid", "Supervision"]
    rows = []
    for model in models:
        sizes = [model.depth, model.heads, model.patch_size, model.image_size, f"{model.grid[0]} × {model.grid[1]}"]
        texts = ["–"] * 5 + ["none"] if model.method == RANDOM else [*map(str, sizes), model.method]
        rows.append((model.name, [(text, False) for text in texts]))
    noise = [escape(model.name) for model in models if model.method == RANDOM]
    note = f"<p>{' and '.join(noise)}: Gaussian noise in place of features, the score of pure chance.</p>"
    return _table(header, rows) + (note if noise else "")


def _tables(content: Content) -> str:
    if not content.tables:
        return ""
    parts = [
        '<h2 id="tables">Tables</h2>',
        "<p>The best layer stands in parentheses; the best figure of a column (in Table 2.6 of a row) is bold. Top-1, "
        "top-5 and PCK in per cent, mAP and J&amp;F as fractions.</p>",
    ]
    for table, as_csv, as_markdown in content.tables:
        rows = [(name, [(cell.text, cell.best) for cell in cells]) for name, cells in table.rows.items()]
        parts += [
            f"<h3>Table {table.number}: {escape(table.title)}</h3>",
            f"<p>{escape(content.data)}</p>" if content.data else "",
            _table(table.header, rows),
            f'<p><a href="{escape(as_csv)}">CSV</a> · <a href="{escape(as_markdown)}">Markdown</a></p>',
        ]
    return "\n".join(parts)


def _table(header: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[str, bool]]]]) -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    body = []
    for name, cells in rows:
        drawn = "".join(f"<td>{_strong(escape(text), best)}</td>" for text, best in cells)
        body.append(f'<tr><th scope="row">{escape(name)}</th>{drawn}</tr>')
    # Reached by keyboard too, because it scrolls sideways on a narrow screen.
    return (
        f'<div class="table" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
        "</div>"
    )


def _strong(text: str, strong: bool) -> str:
    return f"<strong>{text}</strong>" if strong else text


def _footer(content: Content) -> str:
    lines = [
        "Drawn from the folder arrays; draw again with python -m callbacks.vit_analysis.report &lt;run folder&gt;."
    ]
    if content.absent:
        lines.append(f"Not shown, because nothing was measured for it: {', '.join(map(escape, content.absent))}.")
    return "\n".join(f"<p>{line}</p>" for line in lines)
