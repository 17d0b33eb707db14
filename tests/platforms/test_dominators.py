"""Which nodes cannot be reached but over which others, compared with leaving each out."""

from hypothesis import given
from hypothesis import strategies as st

from runner.platforms.dominators import spans_of

NAMES = "abcdef"


def reached(before, without):
    found = {"a"} - {without}
    while more := {
        target
        for target, sources in before.items()
        if target not in found and target != without and found & {*sources}
    }:
        found |= more
    return found


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), min_size=1, max_size=4)))
def test_a_node_needs_those_without_which_it_is_not_reached(before):
    spans = spans_of(before, "a")
    assert spans.keys() == reached(before, None)
    for one, (first, last) in spans.items():
        needing = {name for name, (number, _) in spans.items() if first <= number <= last}
        assert needing == spans.keys() - reached(before, one)


def test_a_long_chain_is_numbered_without_recursion():
    spans = spans_of({str(number): [str(number - 1)] for number in range(1, 20_000)}, "0")
    assert spans["0"] == (0, 19_999)
    assert spans["19999"] == (19_999, 19_999)
