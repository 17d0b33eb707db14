"""The critical path of traces of known answer, and what must hold for the path of any trace."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from runner.core.trace import SpanRecord
from runner.report.critical_path import critical_path
from runner.report.forest import every_node, forest

ROOT = ("root", None, 0, 100)


def trace(*spans):
    """Return records of (name, parent's name, start, end); an end of None is a span that goes on."""
    ids = {name: number for number, (name, *_) in enumerate(spans, 1)}
    records = []
    for name, parent, start, end in spans:
        record = SpanRecord(name, 7, ids[name], ids.get(parent), sequence=len(records), start=start)
        record.end, record.ended = end, end is not None
        records.append(record)
    return records


def path(*spans):
    """Return the path as (name, start, end) of its sections."""
    found = critical_path(trace(*spans))
    return [(section.record.name, section.start, section.end) for section in found.sections]


def test_steps_one_after_the_other_are_all_on_the_path():
    spans = (ROOT, ("a", "root", 0, 40), ("b", "root", 40, 100))
    assert path(*spans) == [("a", 0, 40), ("b", 40, 100)]


def test_of_a_fork_and_join_the_slow_branch_is_on_the_path():
    assert path(
        ROOT,
        ("fork", "root", 0, 10),
        ("quick", "root", 10, 30),
        ("slow1", "root", 10, 50),
        ("slow2", "root", 50, 80),
        ("join", "root", 80, 95),
    ) == [("fork", 0, 10), ("slow1", 10, 50), ("slow2", 50, 80), ("join", 80, 95), ("root", 95, 100)]


def test_time_in_which_nothing_ran_belongs_to_the_span_around_it():
    assert path(ROOT, ("a", "root", 10, 20), ("b", "root", 60, 90)) == [
        ("root", 0, 10),
        ("a", 10, 20),
        ("root", 20, 60),
        ("b", 60, 90),
        ("root", 90, 100),
    ]


def test_a_step_that_still_ran_when_the_last_one_began_decided_nothing():
    assert path(ROOT, ("a", "root", 0, 30), ("b", "root", 10, 55), ("c", "root", 40, 100)) == [
        ("a", 0, 30),
        ("root", 30, 40),
        ("c", 40, 100),
    ]


def test_the_path_goes_through_nested_containers():
    spans = (
        ROOT,
        ("loop", "root", 0, 100),
        ("item0", "loop", 0, 50),
        ("item1", "loop", 50, 100),
        ("send1", "item1", 55, 70),
        ("send2", "item1", 80, 100),
    )
    assert path(*spans) == [
        ("item0", 0, 50),
        ("item1", 50, 55),
        ("send1", 55, 70),
        ("item1", 70, 80),
        ("send2", 80, 100),
    ]
    passed = [record.name for record in critical_path(trace(*spans)).records]
    assert passed == ["root", "loop", "item0", "item1", "send1", "send2"]


def test_of_steps_that_end_together_the_one_that_began_first_counts():
    assert path(ROOT, ("a", "root", 0, 90), ("b", "root", 90, 100), ("c", "root", 20, 100)) == [
        ("root", 0, 20),
        ("c", 20, 100),
    ]
    assert path(ROOT, ("a", "root", 0, 100), ("b", "root", 0, 100)) == [("a", 0, 100)]


def test_what_took_no_time_is_not_on_the_path():
    assert path(ROOT, ("skipped", "root", 50, 50)) == [("root", 0, 100)]
    assert path(("root", None, 5, 5), ("a", "root", 5, 5)) == []
    assert path() == []


def test_a_child_counts_only_as_far_as_it_is_inside_its_parent():
    assert path(
        ("root", None, 20, 100),
        ("early", "root", 0, 40),
        ("late", "root", 80, 130),
        ("after", "root", 110, 120),
    ) == [("early", 20, 40), ("root", 40, 80), ("late", 80, 100)]


def test_several_roots_are_one_chain():
    assert path(("sent", None, 0, 30), ("received", "unknown", 50, 90), ("x", "received", 60, 90)) == [
        ("sent", 0, 30),
        ("received", 50, 60),
        ("x", 60, 90),
    ]


def test_a_span_that_goes_on_counts_up_to_the_last_time_of_the_trace():
    assert path(
        ("root", None, 0, None), ("a", "root", 0, 60), ("b", "root", 60, None), ("x", "b", 65, 80)
    ) == [("a", 0, 60), ("b", 60, 65), ("x", 65, 80)]


def test_a_deep_trace_is_walked_without_recursion():
    depth = 5_000
    spans = [("s0", None, 0, 2 * depth)]
    spans += [(f"s{at}", f"s{at - 1}", at, 2 * depth - at) for at in range(1, depth)]
    found = critical_path(trace(*spans))
    assert len(found.records) == depth
    assert len(found.sections) == 2 * depth - 1


@st.composite
def traces(draw):
    """Draw a trace in which anything may stand anywhere; parents stand before their children."""
    count = draw(st.integers(1, 14))
    spans = [("0", None, 20, 20 + draw(st.integers(1, 60)))]
    for number in range(1, count):
        start = draw(st.integers(0, 100))
        spans.append(
            (str(number), str(draw(st.integers(0, number - 1))), start, start + draw(st.integers(0, 60)))
        )
    return trace(*spans)


def window(node):
    """Return the part of a span that lies inside all of its ancestors."""
    start, end = node.record.start, node.record.end
    if node.parent is not None:
        above = window(node.parent)
        start, end = max(start, above[0]), min(end, above[1])
    return start, max(start, end)


@given(traces())
def test_the_sections_fill_the_time_of_the_root_without_overlap(records):
    sections = critical_path(records).sections
    assert sections[0].start == records[0].start
    assert sections[-1].end == records[0].end
    assert all(one.end == other.start for one, other in pairwise(sections))
    assert all(section.start < section.end for section in sections)


@given(traces())
def test_a_section_is_time_in_which_its_span_ran_and_no_child_on_the_path_did(records):
    found = critical_path(records)
    nodes = {node.record.span_id: node for node in every_node(forest(records))}
    on_path = {record.span_id for record in found.records}
    for section in found.sections:
        node = nodes[section.record.span_id]
        start, end = window(node)
        assert start <= section.start < section.end <= end
        assert section.record.span_id in on_path
        for child in node.children:
            if child.record.span_id in on_path:
                begun, ended = window(child)
                assert ended <= section.start or begun >= section.end


@given(traces())
def test_everything_on_the_path_blocked_what_came_next(records):
    """Of the children of a span, the next is begun after the one before, and none ended in between."""
    on_path = {record.span_id for record in critical_path(records).records}
    for node in every_node(forest(records)):
        if node.record.span_id not in on_path:
            continue
        windows = [window(child) for child in node.children]
        real = [one for one in windows if one[0] < one[1]]
        chain = sorted(window(child) for child in node.children if child.record.span_id in on_path)
        begins = [start for start, _ in chain] + [window(node)[1]]
        assert all(ended <= begun for (_, ended), begun in zip(chain, begins[1:], strict=True))
        for (_, ended), begun in zip(chain, begins[1:], strict=True):
            assert not [one for one in real if ended < one[1] <= begun]
        first = begins[0]
        assert not [one for one in real if one[1] <= first]


@given(traces())
def test_a_span_is_on_the_path_only_with_its_parent_and_stands_after_it(records):
    order = [record.span_id for record in critical_path(records).records]
    assert len(set(order)) == len(order)
    for record in records:
        if record.span_id in order and record.parent_id is not None:
            assert order.index(record.parent_id) < order.index(record.span_id)


def test_records_tell_apart_traces_and_twins():
    one, two = trace(("a", None, 0, 10)), trace(("a", None, 20, 30), ("b", "a", 22, 30))
    two[0].trace_id = two[1].trace_id = 8
    twin = trace(("a", None, 20, 25))[0]
    twin.trace_id = 8
    roots = forest([*one, two[0], twin, two[1]])
    assert [(node.record.start, len(node.children)) for node in roots] == [(0, 0), (20, 1), (20, 0)]


def test_many_siblings_are_walked_in_time():
    count = 20_000
    spans = [("root", None, 0, count), *((f"s{at}", "root", at, at + 1) for at in range(count))]
    assert len(critical_path(trace(*spans)).sections) == count
