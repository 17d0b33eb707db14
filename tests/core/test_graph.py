"""Edges that a document cannot mean are told before anything runs (SEMANTICS, Graph)."""

from runner.core.commands import Outcome
from runner.core.graph import Arc, is_taken
from runner.core.plan import build_plan
from tests.play import edge, flow_of, http


def problems(*steps, **flow):
    plan = build_plan(flow_of(*steps, **flow))
    return [(one.code, one.where, one.what) for one in plan.problems if one.is_error]


def condition(step_id):
    return {"id": step_id, "condition": "true"}


def test_an_edge_to_or_from_nowhere_names_the_close_match():
    found = problems(http("first"), http("second"), edges=[edge("frist", "secnd")])
    assert found == [
        ("edge.unknown_step", "edges[0].from", "no step 'frist'; did you mean 'first'?"),
        ("edge.unknown_step", "edges[0].to", "no step 'secnd'; did you mean 'second'?"),
    ]


def test_a_branch_may_only_leave_a_condition_step():
    found = problems(http("a"), http("b"), edges=[edge("a", "b", "true")])
    assert found[0][:2] == ("edge.when", "edges[0].when")


def test_a_cycle_is_told_with_its_steps():
    found = problems(
        http("a", dependsOn="c"), http("b", dependsOn="a"), http("c", dependsOn="b"), parallel=True
    )
    assert [one[:2] for one in found] == [("graph.cycle", "steps[0]")]
    assert "a -> b -> c -> a" in found[0][2]


def test_a_cycle_of_listed_edges_needs_an_each_join():
    edges = [edge("s", "a"), edge("a", "b"), edge("b", "a")]
    assert [one[0] for one in problems(http("s"), http("a"), http("b"), edges=edges)] == ["graph.cycle"]
    assert problems(http("s"), http("a", join="each", maxVisits=2), http("b"), edges=edges) == []


def test_a_cycle_beside_other_steps_names_only_its_own():
    found = problems(
        http("x"),
        http("a", dependsOn=["b", "x"]),
        http("b", dependsOn="a"),
        http("y", dependsOn="b"),
        parallel=True,
    )
    assert found[0][1] == "steps[1]"
    assert "a -> b -> a" in found[0][2]


def test_edges_that_leave_a_cycle_are_not_part_of_it():
    edges = [edge("a", "b"), edge("b", "a"), edge("a", "e", join="each"), edge("s", "a", join="all")]
    found = problems(http("s"), http("a"), http("b"), http("e"), edges=edges)
    assert "a -> b -> a" in found[0][2]


def test_a_step_that_no_first_step_leads_to_is_unreachable():
    edges = [edge("a", "b"), edge("b", "a")]
    found = problems(http("s"), http("a", join="each"), http("b", join="each"), edges=edges)
    assert [one[:2] for one in found] == [
        ("graph.unreachable", "steps[1]"),
        ("graph.unreachable", "steps[2]"),
    ]


def test_a_step_behind_a_join_of_all_is_unreachable_when_one_of_them_is():
    edges = [edge("a", "b"), edge("b", "a"), edge("b", "c"), edge("s", "c")]
    found = problems(
        http("s"), http("a", join="each"), http("b", join="each"), http("c", join="all"), edges=edges
    )
    assert ("graph.unreachable", "steps[3]") in [one[:2] for one in found]


def test_depends_on_names_steps_that_exist_and_run_before():
    found = problems(http("a", dependsOn=["b", "nope"]), http("b", dependsOn="b"))
    assert [one[:2] for one in found] == [
        ("depends.order", "steps[0].dependsOn[0]"),
        ("depends.unknown_step", "steps[0].dependsOn[1]"),
        ("depends.order", "steps[1].dependsOn"),
    ]


def test_depends_on_a_later_step_is_fine_in_a_graph():
    assert problems(http("a", dependsOn="b"), http("b"), parallel=True) == []


def test_equal_edges_count_once():
    plan = build_plan(flow_of(http("a"), http("b"), edges=[edge("a", "b"), edge("a", "b")]))
    assert plan.graph.any_in == {1: 1}
    assert list(plan.graph.leaving(0)) == [Arc(1, "done", "any", declared=True)]


def test_an_edge_may_name_its_own_group():
    plan = build_plan(
        flow_of(http("a"), http("b"), http("c"), edges=[edge("a", "c", join="all"), edge("b", "c")])
    )
    assert plan.graph.all_in[2] == 1
    assert plan.graph.any_in == {2: 1}


def test_one_each_edge_makes_the_whole_join_each():
    plan = build_plan(flow_of(http("a"), http("b"), edges=[edge("a", "b", join="each")]))
    assert plan.graph.each == {1}


def test_references_wait_in_a_graph_but_not_for_a_step_that_fires_each_time():
    steps = (
        http("b", query={"x": "{{a.x}}"}),
        http("a", outputs={"x": "response.status"}),
        http("loop", join="each", query={"x": "{{a.x}}"}),
    )
    plan = build_plan(flow_of(*steps, edges=[edge("b", "loop")], parallel=True))
    assert list(plan.graph.leaving(1)) == [Arc(0, "decided", "all", declared=False)]


def test_when_an_edge_is_taken():
    done, failed = Outcome("succeeded", taken="true"), Outcome("failed")
    skipped, upstream = Outcome("skipped", reason="condition"), Outcome("skipped", reason="upstream")
    unreached = Outcome("skipped", reason="unreached")
    outcomes = (done, failed, skipped, upstream, unreached)
    table = {
        "decided": (True, True, True, True, True),
        "done": (True, True, True, True, False),
        "success": (True, False, False, False, False),
        "failure": (False, True, False, False, False),
        "depends": (True, False, True, False, False),
        "true": (True, False, False, False, False),
        "false": (False, False, False, False, False),
        "case:x": (False, False, False, False, False),
    }
    for when, taken in table.items():
        assert tuple(is_taken(when, outcome) for outcome in outcomes) == taken, when


def test_a_long_cycle_is_told_in_short():
    steps = [http(f"s{n}", dependsOn=f"s{(n + 1) % 40}") for n in range(40)]
    found = problems(*steps, parallel=True)
    assert "s0 -> s39" in found[0][2]
    assert "… 30 more … -> s0" in found[0][2]
    assert len(found[0][2]) < 250


def test_a_dependency_named_twice_counts_once():
    plan = build_plan(flow_of(http("a", dependsOn=["b", "b"]), http("b"), parallel=True))
    assert plan.graph.all_in[0] == 1
