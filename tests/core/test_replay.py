from itertools import count

from runner.core.replay import renew_ids, shift_times
from runner.core.trace import Link
from tests.core.test_otlp_json import TRACE, record


def counting():
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def test_new_ids_keep_the_tree_and_point_to_the_original():
    root, child, leaf = record(1), record(2, 1), record(3, 2)
    leaf.links = (Link(TRACE, 1, {"why": "x"}), Link(5, 6))
    renew_ids([root, child, leaf], counting())
    assert {one.trace_id for one in (root, child, leaf)} == {root.trace_id}
    assert root.trace_id != TRACE
    assert (root.parent_id, child.parent_id, leaf.parent_id) == (None, root.span_id, child.span_id)
    assert len({root.span_id, child.span_id, leaf.span_id}) == 3
    assert root.links == (Link(TRACE, 1),)
    assert leaf.links == (Link(root.trace_id, root.span_id, {"why": "x"}), Link(5, 6))


def test_a_span_whose_parent_is_elsewhere_becomes_a_root():
    orphan = record(2, 9)
    renew_ids([orphan], counting())
    assert (orphan.parent_id, orphan.links) == (None, (Link(TRACE, 2),))


def test_every_trace_gets_an_id_of_its_own_and_none_is_zero():
    one, other = record(1), record(1)
    other.trace_id = 5
    renew_ids([one, other], counting())
    assert one.trace_id != other.trace_id
    renew_ids([one], bytes)  # which is all zeros
    assert (one.trace_id, one.span_id) == (1, 1)


def test_shifted_times_end_now_and_keep_their_distances():
    root, open_one = record(1, start=100, end=400), record(2, start=200, end=None)
    root.events = [("e", 150, {"a": 1})]
    shift_times([root, open_one], 10_400)
    assert (root.start, root.end, root.events) == (10_100, 10_400, [("e", 10_150, {"a": 1})])
    assert (open_one.start, open_one.end) == (10_200, None)
    shift_times([], 5)
