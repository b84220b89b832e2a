import io

from rich.console import Console

from callbacks.results.table import Table, TableCell
from callbacks.results.terminal import print_tables

SENTENCE = "A claim that is a whole sentence and does not fit beside its figures on a terminal of eighty columns."


def printed(tables, width=80, note=""):
    console = Console(file=io.StringIO(), width=width)
    print_tables(tables, note, console)
    return console.file.getvalue()


def test_title_head_rows_and_note_in_this_order():
    table = Table("Title", ["method", "a"], [("base", [TableCell("1.5")])])
    lines = [line.split() for line in printed([table], note="how to read it").splitlines() if line.strip(" ─")]
    assert lines == [["Title"], ["method", "a"], ["base", "1.5"], ["how", "to", "read", "it"]]


def test_what_looks_like_markup_of_the_terminal_is_text():
    table = Table("[b]T[/b]", ["[red]m", "a"], [("[i]x", [TableCell("+1 [a, +2]")])])
    text = printed([table], note="[dim]")
    for words in ("[b]T[/b]", "[red]m", "[i]x", "+1 [a, +2]", "[dim]"):
        assert words in text


def test_figures_stay_below_each_other_beside_a_mark():
    rows = [("a", [TableCell("60.0", best=True, close=True)]), ("b", [TableCell("58.0", close=True)])]
    best, close = printed([Table("", ["m", "f"], rows)]).splitlines()[-3:-1]
    assert best.index("60.0") == close.index("58.0~")


def test_sentences_break_and_figures_do_not():
    lines = printed([Table.of_texts("", ["claim", "weakest effect"], [[SENTENCE, "+0.1 [-0.2, +0.4]"]])]).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("+0.1 [-0.2, +0.4]" in line for line in lines)


def test_nothing_is_broken_in_a_file(capsys):
    print_tables([Table.of_texts("T " * 100, ["claim", "effect"], [[SENTENCE * 3, "+0.1 [-0.2, +0.4]"]])])
    lines = capsys.readouterr().out.splitlines()
    assert ("T " * 100).strip() in lines[0]
    assert any(SENTENCE * 3 in line and "+0.1 [-0.2, +0.4]" in line for line in lines)
