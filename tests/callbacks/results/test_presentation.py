import math

import pytest

import callbacks
from callbacks.results.presentation import COUNT, HIGHER, LOWER, SHARE, MetricKind, Presentation

PROTOCOLS = [each for each in map(callbacks.__getattr__, callbacks.EXPORTS) if hasattr(each, "protocol")]
NAMES = [each.__name__ for each in PROTOCOLS]


@pytest.mark.parametrize("callback", PROTOCOLS, ids=NAMES)
def test_every_protocol_states_how_it_is_shown(callback):
    shown = callback.presentation
    assert isinstance(shown, Presentation)
    assert shown.title.strip()
    assert shown.title not in (callback.protocol, callback.__name__)
    assert shown.columns >= 1
    for kind in (shown.kind, *shown.kinds.values()):
        assert isinstance(kind, MetricKind)
        assert kind.better in ("higher", "lower", None)
        assert float(kind.text(0.25, math.nan)) == pytest.approx(25 if kind.share else 0.25, abs=0.5)
    assert shown.joins is None or shown.joins in {each.protocol for each in PROTOCOLS}


def test_there_are_protocols_of_every_family():
    families = {each.__module__.split(".")[1] for each in PROTOCOLS}
    assert families == {"dense", "detection", "generation", "source_discovery", "vit_analysis"}
    assert len(PROTOCOLS) >= 24


def test_titles_tell_protocols_apart_unless_they_join():
    titles = [each.presentation.title for each in PROTOCOLS if each.presentation.joins is None]
    assert len(set(titles)) == len(titles)


def test_the_longest_beginning_of_a_name_decides():
    shown = Presentation("T", SHARE, {"power": LOWER, "power share": HIGHER})
    assert shown.kind_of("power share upper half") is HIGHER
    assert shown.kind_of("power upper half") is LOWER
    assert shown.kind_of("other") is SHARE


def test_the_best_layer_is_a_number_whatever_the_metric():
    shown = Presentation("T", SHARE)
    assert shown.kind_of("k-NN top-1 layer").text(3.0, math.nan) == "3"
    assert shown.kind_of("k-NN top-1 @3") is SHARE


def test_texts():
    assert SHARE.text(0.6, 0.01) == "60.0 ± 1.0"
    assert SHARE.text(0.6, math.nan) == "60.0"
    assert MetricKind("lower", digits=".3f").text(4.25, 0.0) == "4.250"
    assert LOWER.text(18.739, 0.1) == "18.74"
    assert COUNT.text(16.0, math.nan) == "16"


def test_errors_stand_beside_shares_and_where_they_are_asked_for():
    assert MetricKind("higher", digits=".2f").text(0.9, 0.1) == "0.90"
    assert MetricKind("higher", digits=".2f", errors=True).text(0.9, 0.1) == "0.90 ± 0.10"
    assert MetricKind("higher", digits=".2f", errors=True).text(0.9, math.nan) == "0.90"
    assert SHARE.text(0.9, 0.1) == "90.0 ± 10.0"
