"""Rows of a journal, and what of a run is kept when it is done again (SEMANTICS, Journal)."""

import json
from dataclasses import replace

from runner.core.commands import Outcome, StepFailure
from runner.core.journal import (
    Row,
    decode,
    innermost,
    misfits,
    place_of,
    remaining,
    shapes,
    span_id,
    was_answered,
)
from runner.core.plan import build_plan
from runner.core.trace import SpanRecord, encode
from tests.play import edge, flow_of, http

TRACE = 0x0AF7651916CD43DD8448EB211C80319C


def span(name, span_id, parent=1):
    record = SpanRecord(name, TRACE, span_id, parent, sequence=0, start=5)
    record.end, record.ended = 9, True
    return record


def test_a_row_comes_back_as_it_was_written():
    outcome = Outcome(
        "failed",
        {"a": [1, {"ä": None}], "big": 2**70},
        failure=StepFailure("http.status", "the status is 500", "steps[0]"),
        attempts=3,
        taken="true",
        handled=True,
        tainted=frozenset({"a"}),
        missing=("no x",),
        detail="why",
        reason=None,
    )
    row = Row("a[1]", 7, "leaf", outcome, [encode(span("http-a", 2)), encode(span("GET /", 3, 2))])
    kept = decode(row.path, row.seq, row.kind, row.encode())
    assert (kept.path, kept.seq, kept.kind, kept.outcome) == ("a[1]", 7, "leaf", outcome)
    assert [(one.name, one.span_id, one.parent_id, one.start, one.end) for one in kept.records] == [
        ("http-a", 2, 1, 5, 9),
        ("GET /", 3, 2, 5, 9),
    ]


def test_a_row_says_only_what_there_is_to_say():
    assert json.loads(Row("a", 0, "skip", Outcome("skipped")).encode()) == {
        "outcome": {"status": "skipped"},
        "spans": [],
    }


def test_a_span_has_the_same_id_for_every_worker_and_another_one_in_another_place():
    assert span_id("run", "a") == span_id("run", "a")
    assert len({span_id(run, path) for run in ("r", "s") for path in ("", "a", "a[0]", "a#2")}) == 8


def test_a_place_has_no_visits_iterations_and_polls():
    assert place_of("outer#2[3]/inner~4/a.b-c") == "outer/inner/a.b-c"


# --- an edited flow


def shaped(*steps):
    return shapes(flow_of(*steps))


def test_a_step_fits_when_only_what_does_not_shape_its_result_was_edited():
    old = shaped(http("a", timeout=1000, retryCount=1))
    new = shaped(http("a", timeout=9000, retryCount=5, name="Other", delay=10))
    assert misfits(["a"], old, new) == []


def test_every_key_that_differs_is_listed_with_both_values():
    old = shaped(http("a", expectedStatus=404, headers={"X": "1"}))
    new = shaped(http("a", url="http://h.example/b", headers={"X": "2"}, body={"n": 1}))
    assert misfits(["a", "a[1]"], old, new) == [
        'a: url "http://h.example/a" -> "http://h.example/b"',
        "a: headers … -> …",
        'a: body none -> {"n": 1}',
        "a: expectedStatus 404 -> none",
    ]


def test_credentials_are_not_shown_and_long_values_are_cut():
    old = shaped(http("a", auth={"type": "bearer", "token": "s3cret-token"}))
    new = shaped(http("a", body="x" * 200))
    [auth, body] = misfits(["a"], old, new)[::-1]
    assert auth == "a: auth … -> none"
    assert body.startswith('a: body none -> "xxxx')
    assert body.endswith("x…")
    assert len(body) < 120


def test_a_step_that_is_gone_does_not_fit():
    assert misfits(["a"], shaped(http("a")), shaped(http("b"))) == ["a: the step is gone"]


def test_a_step_fits_only_if_those_it_refers_to_fit():
    uses = {"id": "b", "set": {"x": "{{a.x}}"}}
    old = shaped({"id": "a", "set": {"x": "1"}}, uses)
    new = shaped({"id": "a", "set": {"x": "2"}}, uses)
    assert misfits(["b", "a"], old, new) == ['a: set {"x": "1"} -> {"x": "2"}']


def test_a_value_from_outside_that_changed_does_not_fit_a_step_that_uses_it():
    flow = shaped({"id": "a", "set": {"x": "{{input.n}}{{env.E}}"}}, {"id": "b", "set": {"x": "1"}})
    changed = {("input", "n"), ("env", "E"), ("input", "other")}
    assert misfits(["a", "b"], flow, flow, changed) == [
        "a: env.E has another value",
        "a: input.n has another value",
    ]


def test_steps_of_sub_flows_have_shapes_of_their_own():
    outer = flow_of({"id": "sub", "flow": "inner.json", "inputs": {"v": "{{input.v}}"}})
    inner = flow_of({"id": "x", "set": {"y": "{{input.v}}"}}, {"id": "z", "set": {"y": "{{x.y}}"}})
    found = shapes(outer, lambda path, by: inner)
    assert found.keys() == {"sub", "sub/x", "sub/z"}
    assert found["sub/z"].steps == {"sub/x"}
    assert found["sub"].uses == {("input", "v")}
    assert found["sub"].keys == {"flow": '"inner.json"', "inputs": '{"v": "{{input.v}}"}'}


# --- what is done again


def plan(*steps, edges=(), **config):
    return build_plan(flow_of(*steps, edges=edges, **config))


def test_in_list_order_everything_behind_a_step_is_done_again():
    chain = plan(http("a"), http("b"), http("c"))
    assert remaining(chain, ["a", "b", "c"], ["b"]) == ["a"]


def test_in_a_graph_only_what_follows_a_step_is_done_again():
    graph = plan(
        {"id": "a", "set": {"x": "1"}},
        {"id": "b", "set": {"x": "{{a.x}}"}},
        {"id": "c", "set": {"x": "2"}},
        {"id": "d", "set": {"x": "{{b.x}}{{c.x}}"}},
        parallel=True,
    )
    assert remaining(graph, ["a", "b", "c", "d"], ["b"]) == ["a", "c"]
    assert remaining(graph, ["a", "b", "c", "d"], ["a", "c"]) == []


def test_a_path_with_marks_stands_for_that_iteration_alone():
    loop = plan({"id": "l", "forEach": [1, 2, 3], "set": {"x": "{{item}}"}}, http("after"))
    rows = ["l[0]", "l[1]", "l[10]", "after"]
    assert remaining(loop, rows, ["l[1]"]) == ["l[0]", "l[10]"]
    assert remaining(loop, rows, ["l"]) == []
    assert remaining(loop, rows, ["after"]) == ["l[0]", "l[1]", "l[10]"]


def test_a_step_whose_name_begins_like_another_stays():
    chain = plan(http("step"), http("step2"), edges=[])
    assert remaining(chain, ["step", "step2"], ["step2"]) == ["step"]


def test_in_a_sub_flow_what_follows_inside_and_outside_is_done_again():
    inner = flow_of(http("x"), http("y"), http("z"))
    outer = flow_of(http("a"), {"id": "sub", "flow": "inner.json"}, http("b"))
    built = build_plan(replace(outer, home="/flows"), lambda path, by: replace(inner, source=path))
    rows = ["a", "sub/x", "sub/y", "sub/z", "b"]
    assert remaining(built, rows, ["sub/y"]) == ["a", "sub/x"]


def test_a_cycle_of_edges_is_followed_once():
    cycle = plan(
        {"id": "a", "set": {"x": "1"}, "join": "each", "maxVisits": 3},
        {"id": "b", "set": {"x": "1"}, "join": "each", "maxVisits": 3},
        edges=[edge("a", "b"), edge("b", "a", "failure")],
    )
    assert remaining(cycle, ["a", "b", "a#2"], ["b"]) == []


def test_a_failure_began_where_nothing_below_it_failed():
    assert innermost(["l", "l[1]", "sub", "sub/x", "sub/x~2", "s"]) == ["l[1]", "sub/x~2", "s"]


def test_an_answer_has_come_when_the_step_succeeded_or_judged_it():
    def ended(code):
        return Outcome("failed", failure=StepFailure(code, "…"))

    assert was_answered(Outcome("succeeded"))
    assert was_answered(ended("http.status"))
    assert was_answered(ended("assert.failed"))
    assert not was_answered(ended("http.timeout"))
    assert not was_answered(ended("http.reset"))
    assert not was_answered(Outcome("skipped"))
