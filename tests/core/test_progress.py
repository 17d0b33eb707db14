"""What starts when, and what follows when it has ended (SEMANTICS, Graph; Failure; Steps, containers)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.commands import Outcome, StepFailure
from runner.core.document import Document
from runner.core.progress import DEFAULT_STEP_BUDGET, Slots
from runner.platforms import read
from tests.play import Stage, answer, edge, flow_of, http

FAILS = answer(status=500)


def condition(step_id, text="{{input.x}} === 1", **keys):
    return {"id": step_id, "condition": text, **keys}


def cancelled():
    return Outcome("failed", failure=StepFailure("run.cancelled", "cancelled"), ended_by="cancelled")


# --- list order ----------------------------------------------------------------------------------


def test_steps_run_one_after_the_other_in_list_order():
    stage = Stage(flow_of(http("a"), http("b"), http("c"))).run()
    assert stage.started == ["a", "b", "c"]
    assert stage.peak == 1
    assert stage.outcome.status == "succeeded"


def test_a_flow_without_steps_succeeds_at_once():
    assert Stage(flow_of()).run().outcome.status == "succeeded"


def test_a_skip_in_the_middle_lets_the_later_steps_run():
    flow = flow_of(http("a"), http("b", condition="1 === 2"), http("c"), http("d"))
    stage = Stage(flow).run()
    assert stage.statuses == {
        "a": "succeeded", "b": "skipped:condition", "c": "succeeded", "d": "succeeded",
    }  # fmt: skip
    assert stage.closed["b"].detail == "1 === 2 is false"
    assert stage.outcome.status == "succeeded"


def test_without_stop_on_error_a_failure_in_the_middle_lets_the_later_steps_run_and_the_run_fails():
    flow = flow_of(http("a"), http("b"), http("c"), http("d"), stopOnError=False)
    stage = Stage(flow, {"b": FAILS}).run()
    assert stage.statuses == {"a": "succeeded", "b": "failed", "c": "succeeded", "d": "succeeded"}
    assert stage.outcome.status == "failed"
    assert stage.outcome.failure.code == "http.status"


def test_with_stop_on_error_nothing_starts_after_a_failure():
    stage = Stage(flow_of(http("a"), http("b"), http("c")), {"a": FAILS}).run()
    assert stage.started == ["a"]
    assert stage.statuses == {"a": "failed", "b": "skipped:unreached", "c": "skipped:unreached"}
    assert stage.closed["c"].detail == "step 'a' failed before"


def test_a_condition_in_error_fails_the_step_before_it_starts():
    stage = Stage(flow_of(http("a", condition="1 < 'x'"))).run()
    assert stage.started == []
    assert stage.closed["a"].failure.code == "condition.types"
    assert stage.closed["a"].failure.where == "steps[0].condition"


def test_a_handled_failure_stops_nothing_and_does_not_fail_the_run():
    stage = Stage(flow_of(http("a", onError="continue"), http("b")), {"a": FAILS}).run()
    assert stage.statuses == {"a": "failed", "b": "succeeded"}
    assert stage.closed["a"].handled
    assert stage.outcome.status == "succeeded"


def test_a_step_that_needs_an_output_of_a_failed_step_is_skipped_as_upstream():
    flow = flow_of(
        http("a", outputs={"x": "response.body.x"}, onError="continue"),
        http("b", query={"x": "{{a.x}}"}),
        http("c"),
    )
    stage = Stage(flow, {"a": FAILS}).run()
    assert stage.statuses == {"a": "failed", "b": "skipped:upstream", "c": "succeeded"}
    assert stage.closed["b"].detail == "step 'a' did not succeed"


def test_a_soft_reference_to_a_skipped_step_lets_the_step_run():
    flow = flow_of(
        http("a", condition="false", outputs={"x": "response.body.x"}),
        http("b", query={"x": "{{ a.x | default('none') }}"}),
    )
    stage = Stage(flow).run()
    assert stage.statuses == {"a": "skipped:condition", "b": "succeeded"}
    assert stage.requests[0].url.endswith("?x=none")


# --- edges ---------------------------------------------------------------------------------------


def branches(**join):
    return flow_of(
        condition("c"),
        http("yes"),
        http("no"),
        http("after", **join),
        edges=[edge("c", "yes", "true"), edge("c", "no", "false"), edge("yes", "after"), edge("no", "after")],
    )


def test_a_join_after_exclusive_branches_runs_once_after_the_taken_one():
    stage = Stage(branches(), inputs={"x": 1}).run()
    assert stage.started == ["c", "yes", "after"]
    assert stage.status("no") == "skipped:unreached"
    assert stage.closed["c"].outputs == {"result": True, "label": "true"}
    other = Stage(branches(), inputs={"x": 2}).run()
    assert other.started == ["c", "no", "after"]


def test_a_join_of_all_is_never_reached_when_one_branch_is_not_taken():
    stage = Stage(branches(join="all"), inputs={"x": 1}).run()
    assert stage.status("after") == "skipped:unreached"
    assert stage.closed["after"].detail == "no edge that leads to it was taken"


def test_a_join_of_any_waits_until_all_are_decided():
    flow = flow_of(
        http("a"),
        http("b"),
        http("j"),
        edges=[edge("a", "j"), edge("b", "j")],
        parallel=True,
        maxConcurrency=2,
    )
    stage = Stage(flow, hold={"b"}).run()
    assert stage.started == ["a", "b"]
    stage.hold.clear()
    assert stage.go_on().started == ["a", "b", "j"]


def test_list_order_and_branch_edges_into_one_step_need_all_of_the_former_and_any_of_the_latter():
    flow = flow_of(
        condition("c"),
        http("x", dependsOn="c"),
        http("j", dependsOn="x"),
        edges=[edge("c", "j", "true"), edge("c", "x", "true")],
    )
    assert Stage(flow, inputs={"x": 1}).run().started == ["c", "x", "j"]
    assert Stage(flow, inputs={"x": 2}).run().statuses["j"] == "skipped:unreached"


def test_an_each_edge_is_visited_three_times_and_then_stopped_by_its_bound():
    flow = flow_of(
        http("first"),
        http("a", join="each", maxVisits=3, outputs={"n": "response.body.n"}),
        http("b", join="each", maxVisits=9, query={"n": "{{a.n}}"}),
        edges=[edge("first", "a"), edge("a", "b", "success"), edge("b", "a", "success")],
    )
    stage = Stage(flow, {"a": [answer(f'{{"n":{n}}}') for n in range(9)], "a#2": answer('{"n":7}')}).run()
    assert stage.started == ["first", "a", "b", "a#2", "b#2", "a#3", "b#3"]
    assert stage.closed["a#4"].failure.code == "limit.visits"
    assert stage.closed["a#4"].failure.message.startswith("step 'a' would run more than 3 times")
    assert [request.url for request in stage.requests if "/b?" in request.url][1].endswith("n=7")
    assert stage.outcome.status == "failed"
    assert stage.spots["b#2"].visit == 2


def test_an_each_step_taken_again_while_it_runs_is_visited_again_afterwards():
    flow = flow_of(
        http("a"), http("b"), http("e", join="each", maxVisits=2), edges=[edge("a", "e"), edge("b", "e")],
        parallel=True,
    )  # fmt: skip
    stage = Stage(flow, hold={"e"}).run()
    assert stage.started == ["a", "b", "e"]
    stage.hold.clear()
    assert stage.go_on().started == ["a", "b", "e", "e#2"]


def test_what_follows_a_loop_that_never_takes_its_edge_is_unreached_at_the_end():
    flow = flow_of(
        http("a"),
        condition("again", "{{input.x}} === 1", join="each", maxVisits=5),
        http("back", join="each", maxVisits=5),
        http("after"),
        edges=[
            edge("a", "again"),
            edge("again", "back", "true"),
            edge("back", "again"),
            edge("back", "after", "failure"),
        ],
    )
    stage = Stage(flow, inputs={"x": 2}).run()
    assert stage.started == ["a", "again"]
    assert stage.status("back") == "skipped:unreached"
    assert stage.status("after") == "skipped:unreached"
    assert stage.outcome.status == "succeeded"


def test_steps_that_wait_for_each_other_at_the_end_are_all_unreached():
    flow = flow_of(
        http("a"), http("after"), http("e", join="each"),
        edges=[edge("a", "e", "failure"), edge("e", "after", "success")],
    )  # fmt: skip
    assert Stage(flow).run().statuses == {
        "a": "succeeded", "after": "skipped:unreached", "e": "skipped:unreached",
    }  # fmt: skip


def test_what_follows_a_loop_once_runs_once_however_often_the_loop_takes_the_edge():
    flow = flow_of(
        http("s"), http("slow"), http("a", join="each", maxVisits=2), http("b", join="each", maxVisits=1),
        http("after", join="all"),
        edges=[edge("s", "a"), edge("a", "b"), edge("b", "a"), edge("a", "after"), edge("slow", "after")],
        parallel=True,
    )  # fmt: skip
    stage = Stage(flow, {"b#2": FAILS}, hold={"slow"}).run()
    assert stage.started == ["s", "slow", "a", "b", "a#2"]
    assert stage.closed["b#2"].failure.code == "limit.visits"
    stage.hold.clear()
    assert "after" not in stage.go_on().started


def test_a_decided_step_does_not_run_again_when_a_loop_takes_the_edge_again():
    flow = flow_of(
        http("s"), http("a", join="each", maxVisits=3, outputs={"n": "response.body.n"}), {"id": "more", "condition": "{{a.n}} < 2", "join": "each",
        "maxVisits": 3}, http("after"),
        edges=[edge("s", "a"), edge("a", "more"), edge("more", "a", "true"), edge("a", "after")],
    )  # fmt: skip
    stage = Stage(flow, {"a": answer('{"n":1}'), "a#2": answer('{"n":2}')}).run()
    assert sorted(stage.started) == ["a", "a#2", "after", "more", "more#2", "s"]
    assert stage.outcome.status == "succeeded"


def test_a_failure_edge_handles_the_failure_and_is_taken_only_then():
    flow = flow_of(http("a"), http("rescue"), edges=[edge("a", "rescue", "failure")])
    stage = Stage(flow, {"a": FAILS}).run()
    assert stage.started == ["a", "rescue"]
    assert stage.closed["a"].handled
    assert stage.outcome.status == "succeeded"
    assert Stage(flow).run().statuses["rescue"] == "skipped:unreached"


def test_a_case_edge_is_taken_when_the_outcome_asks_for_it():
    flow = flow_of(http("a"), http("b"), edges=[edge("a", "b", "case:red")])
    stage = Stage(flow, hold={"a"}).run()
    stage.end("a", Outcome("succeeded", taken="case:red"))
    assert stage.started == ["a", "b"]


def test_steps_outside_the_listed_edges_keep_their_list_order():
    flow = flow_of(condition("c"), http("side"), http("x"), http("y"), edges=[edge("c", "side", "true")])
    assert Stage(flow, inputs={"x": 1}).run().started == ["c", "side", "x", "y"]


# --- parallel ------------------------------------------------------------------------------------


def test_parallel_steps_start_together_up_to_the_limit_and_the_join_runs_last():
    steps = [http(f"s{n}", outputs={"x": "response.status"}) for n in range(6)]
    joined = http("join", body={"all": [f"{{{{s{n}.x}}}}" for n in range(6)]}, method="POST")
    stage = Stage(flow_of(joined, *steps, parallel=True, maxConcurrency=3)).run()
    assert stage.started[-1] == "join"
    assert stage.peak == 3
    assert json.loads(stage.requests[-1].body) == {"all": [200] * 6}


def test_the_default_limit_is_five():
    assert Stage(flow_of(*[http(f"s{n}") for n in range(9)], parallel=True)).run().peak == 5


def test_depends_on_waits_and_lets_a_step_skipped_by_its_condition_count_as_done():
    flow = flow_of(http("b", dependsOn=["a", "c"]), http("a"), http("c", condition="false"), parallel=True)
    stage = Stage(flow).run()
    assert stage.started == ["a", "b"]
    failed = Stage(
        flow_of(http("b", dependsOn="a"), http("a", onError="continue"), parallel=True), {"a": FAILS}
    )
    assert failed.run().statuses == {"a": "failed", "b": "skipped:unreached"}


def test_siblings_of_a_failed_step_finish_and_ready_ones_do_not_start():
    flow = flow_of(*[http(f"s{n}") for n in range(4)], parallel=True, maxConcurrency=2)
    stage = Stage(flow, {"s0": FAILS}, hold={"s1"}).run()
    assert stage.started == ["s0", "s1"]
    stage.hold.clear()
    stage.go_on()
    assert stage.statuses == {
        "s0": "failed", "s1": "succeeded", "s2": "skipped:unreached", "s3": "skipped:unreached",
    }  # fmt: skip
    assert stage.outcome.status == "failed"


@given(st.data())
def test_no_step_starts_before_what_it_needs_and_every_step_runs(data):
    size = data.draw(st.integers(1, 12))
    needs = {
        n: data.draw(st.lists(st.integers(0, n - 1), max_size=3, unique=True)) if n else []
        for n in range(size)
    }
    order = data.draw(st.permutations(range(size)))
    steps = [http(f"s{n}", dependsOn=[f"s{need}" for need in needs[n]]) for n in order]
    limit = data.draw(st.integers(1, 4))
    stage = Stage(flow_of(*steps, parallel=True, maxConcurrency=limit)).run()
    assert sorted(stage.started) == sorted(f"s{n}" for n in range(size))
    assert stage.peak <= limit
    place = {path: number for number, path in enumerate(stage.started)}
    assert all(place[f"s{need}"] < place[f"s{n}"] for n in range(size) for need in needs[n])
    assert stage.outcome.status == "succeeded"


# --- bounds and interruption ---------------------------------------------------------------------


def test_the_step_budget_ends_the_run_with_its_own_code():
    stage = Stage(flow_of(*[http(f"s{n}", onError="continue") for n in range(3)]), budget=2).run()
    assert stage.started == ["s0", "s1"]
    assert stage.closed["s2"].failure.code == "limit.steps"
    assert stage.outcome.status == "failed"


def test_the_step_budget_grows_with_the_flow():
    flow = flow_of(*[http(f"s{n}") for n in range(3)])
    assert Stage(flow).progress.budget == DEFAULT_STEP_BUDGET
    assert Stage(flow_of(*[http(f"s{n}") for n in range(5001)])).progress.budget == 10_002


def test_an_interruption_starts_nothing_and_names_the_leaves_to_end():
    flow = flow_of(*[http(f"s{n}") for n in range(4)], parallel=True, maxConcurrency=2)
    stage = Stage(flow, hold={"s0", "s1"}).run()
    assert stage.interrupt("", "cancelled") == ["s0", "s1"]
    stage.end("s0", cancelled()).end("s1", cancelled())
    assert stage.started == ["s0", "s1"]
    assert stage.outcome.ended_by == "cancelled"
    assert stage.status("s3") == "skipped:unreached"


def test_an_interruption_of_something_that_is_not_there_changes_nothing():
    stage = Stage(flow_of(http("a")), hold={"a"}).run()
    assert stage.interrupt("nowhere", "timed_out") == []
    stage.hold.clear()
    assert stage.go_on().outcome.status == "succeeded"


def test_after_an_interruption_an_each_edge_starts_nothing():
    flow = flow_of(
        http("a"), http("b"), http("e", join="each", maxVisits=2), edges=[edge("a", "e"), edge("b", "e")],
        parallel=True,
    )  # fmt: skip
    stage = Stage(flow, hold={"e"}).run()
    stage.interrupt("", "cancelled")
    stage.end("e", cancelled())
    assert stage.started == ["a", "b", "e"]
    assert stage.outcome.ended_by == "cancelled"


def test_slots_are_taken_of_every_flow_around_or_of_none():
    around = Slots(1)
    inner = Slots(2, around)
    assert inner.take()
    assert not inner.take()
    assert (inner.used, around.used) == (1, 1)
    inner.give_back()
    assert (inner.used, around.used) == (0, 0)


# --- flows as steps ------------------------------------------------------------------------------

INNER = {
    "name": "inner",
    "flow_inputs": [{"name": "who", "required": True}, {"name": "pin", "type": "password", "default": "4711x"}],
    "flow_data": {
        "version": "1.0",
        "steps": [
            http("one", url="http://h.example/{{input.who}}", outputs={"id": "response.body.id", "t": "$.t"},
                 secretOutputs=["t"]),
            http("two", query={"id": "{{one.id}}"}),
        ],
    },
}  # fmt: skip


def inner_of(**changes):
    document = json.loads(json.dumps(INNER))
    document["flow_data"].update(changes)

    def reader(path, by):
        from dataclasses import replace

        return replace(read(Document.of(document)), home="/", source=path)

    return reader


def outer(**keys):
    from dataclasses import replace

    sub = {"id": "sub", "flow": "inner.json", "inputs": {"who": "{{input.who}}"}, **keys}
    after = http("after", query={"id": "{{sub.id}}"} if keys.get("outputs") else {"id": "{{sub.one.id}}"})
    return replace(flow_of(sub, after), home="/", source="outer.json")


ANSWERS = {"sub/one": answer('{"id": 5, "t": "topsecret"}')}


def test_a_flow_step_runs_the_other_flow_and_offers_its_outputs_by_step():
    stage = Stage(outer(), dict(ANSWERS), inputs={"who": "ada"}, read=inner_of()).run()
    assert stage.started == ["sub/one", "sub/two", "after"]
    assert stage.opened == ["", "sub"]
    assert stage.spots["sub/one"].parent == "sub"
    assert stage.spots["sub"].type == "flow"
    assert [request.url for request in stage.requests] == [
        "http://h.example/ada", "http://h.example/two?id=5", "http://h.example/after?id=5",
    ]  # fmt: skip
    assert stage.closed["sub"].tainted == {"one"}
    assert stage.masker.mask("topsecret 4711x") == "[masked] [masked]"


def test_a_flow_step_offers_only_the_outputs_that_it_declares():
    flow = outer(outputs={"id": "one.id", "token": "one.t", "all": "one"})
    stage = Stage(flow, dict(ANSWERS), inputs={"who": "ada"}, read=inner_of()).run()
    assert stage.closed["sub"].outputs == {"id": 5, "token": "topsecret", "all": {"id": 5, "t": "topsecret"}}
    assert "token" in stage.closed["sub"].tainted
    assert "id" not in stage.closed["sub"].tainted


def test_an_output_that_the_flow_did_not_make_is_told_as_missing():
    flow = outer(outputs={"id": "one.id", "token": "one.t"})
    stage = Stage(flow, {"sub/one": answer('{"id": 5}')}, inputs={"who": "ada"}, read=inner_of()).run()
    assert stage.closed["sub"].outputs == {"id": 5}
    assert stage.closed["sub"].missing == ("no one.t for output 'token'",)


def test_a_failure_inside_fails_the_flow_step_and_names_the_flow():
    stage = Stage(outer(), {"sub/one": FAILS}, inputs={"who": "ada"}, read=inner_of()).run()
    assert stage.statuses["sub/two"] == "skipped:unreached"
    assert stage.closed["sub"].failure.message.startswith("in flow 'inner': the server answered 500")
    assert stage.closed["sub"].outputs == {}
    assert stage.outcome.status == "failed"


def test_wrong_inputs_fail_the_flow_step_before_it_starts():
    stage = Stage(outer(inputs={"who": ["x"]}), read=inner_of()).run()
    failure = stage.closed["sub"].failure
    assert failure.code == "flow.inputs"
    assert "Input who" in failure.message
    assert failure.where == "steps[0].inputs"
    assert stage.started == []


def test_an_input_that_cannot_be_rendered_fails_the_flow_step():
    stage = Stage(outer(inputs={"who": "{{input.x}}"}), inputs={"y": 1}, read=inner_of()).run()
    assert stage.closed["sub"].failure.code == "reference.missing"


def test_a_flow_without_declared_inputs_takes_any_and_needs_none():
    document = {"version": "1.0", "steps": [http("one", outputs={"id": "response.body.id"})]}

    def reader(path, by):
        from dataclasses import replace

        return replace(read(Document.of(document)), home="/", source=path)

    from dataclasses import replace

    flow = replace(flow_of({"id": "sub", "flow": "x.json"}), home="/", source="o.json")
    assert Stage(flow, read=reader).run().started == ["sub/one"]


def test_a_flow_step_that_takes_too_long_fails_and_the_run_goes_on():
    flow = outer(onError="continue", outputs={"id": "one.id"})
    stage = Stage(
        flow, inputs={"who": "a"}, read=inner_of(config={"flowTimeout": 50}), hold={"sub/one"}
    ).run()
    assert stage.interrupt("sub", "timed_out") == ["sub/one"]
    stage.end("sub/one", Outcome("failed", failure=StepFailure("run.timed_out", "x"), ended_by="timed_out"))
    assert stage.closed["sub"].failure.code == "flow.timeout"
    assert stage.closed["sub"].handled
    assert stage.status("after") == "skipped:upstream"
    assert stage.outcome.status == "succeeded"


def test_cancelling_the_run_cancels_the_flows_in_it():
    stage = Stage(outer(), inputs={"who": "a"}, read=inner_of(), hold={"sub/one"}).run()
    assert stage.interrupt("", "cancelled") == ["sub/one"]
    stage.end("sub/one", cancelled())
    assert stage.closed["sub"].ended_by == "cancelled"
    assert stage.closed["sub"].failure is None
    assert stage.outcome.ended_by == "cancelled"


def test_a_leaf_needs_a_slot_of_every_flow_around_it():
    inner = inner_of(steps=[http(f"i{n}") for n in range(4)], config={"parallel": True})
    flows = [{"id": f"sub{n}", "flow": "inner.json", "inputs": {"who": "x"}} for n in range(3)]
    from dataclasses import replace

    flow = replace(flow_of(*flows, parallel=True, maxConcurrency=2), home="/", source="outer.json")
    stage = Stage(flow, read=inner).run()
    assert stage.peak == 2
    assert len(stage.started) == 12


# --- interruption at any point -------------------------------------------------------------------


def test_a_flow_step_whose_steps_wait_for_a_slot_ends_with_an_interruption():
    flow = {
        "id": "e",
        "forEach": [1, 2, 3],
        "maxConcurrency": 3,
        "flow": "inner.json",
        "inputs": {"who": "x"},
    }
    from dataclasses import replace

    outer_flow = replace(flow_of(flow, http("after"), maxConcurrency=1), home="/", source="outer.json")
    stage = Stage(outer_flow, read=inner_of(), hold={"e[0]/one"}).run()
    assert stage.interrupt("", "cancelled") == ["e[0]/one"]
    stage.end("e[0]/one", cancelled())
    assert stage.outcome.ended_by == "cancelled"
    assert stage.closed["e[1]"].ended_by == "cancelled"
    assert stage.closed["after"].detail == "the run was cancelled before"


def test_a_flow_timeout_ends_a_flow_that_has_not_got_a_slot_yet():
    from dataclasses import replace

    sub = {"id": "sub", "flow": "inner.json", "inputs": {"who": "x"}, "onError": "continue"}
    flow = replace(flow_of(http("slow"), sub, parallel=True, maxConcurrency=1), home="/", source="outer.json")
    stage = Stage(flow, read=inner_of(config={"flowTimeout": 50}), hold={"slow"}).run()
    assert stage.interrupt("sub", "timed_out") == []
    assert stage.closed["sub"].failure.code == "flow.timeout"
    stage.hold.clear()
    assert stage.go_on().outcome.status == "succeeded"


def test_a_poll_that_waits_for_a_slot_ends_with_the_timeout_of_its_flow():
    from dataclasses import replace

    inner = inner_of(
        steps=[http("p", until={"condition": "false", "interval": 0})], config={"flowTimeout": 50}
    )
    sub = {"id": "sub", "flow": "inner.json", "inputs": {"who": "x"}}
    flow = replace(flow_of(http("slow"), sub, parallel=True, maxConcurrency=1), home="/", source="outer.json")
    stage = Stage(flow, read=inner, hold={"slow"}).run()
    stage.interrupt("sub", "timed_out")
    assert stage.closed["sub/p~1"].ended_by == "timed_out"
    assert stage.closed["sub"].failure.code == "flow.timeout"


def test_a_step_that_waits_for_its_turn_is_withheld_once_the_run_has_stopped():
    stage = Stage(flow_of(http("a"), http("b"), parallel=True, delay=50), {"a": FAILS}, hold={"b"}).run()
    assert stage.running["b"].spacing == 0.05
    outcome = stage.progress.withheld("b")
    assert (outcome.reason, outcome.detail) == ("unreached", "step 'a' failed before")
    stage.end("b", outcome)
    assert stage.status("b") == "skipped:unreached"
    assert stage.outcome.status == "failed"
    running = Stage(flow_of(http("a"), http("b"), parallel=True, delay=50), hold={"b"}).run()
    assert running.progress.withheld("b") is None


def test_an_item_or_a_first_poll_that_waits_for_its_turn_is_withheld_too():
    polls = http("p", until={"condition": "true"})
    flow = flow_of(http("a"), http("e", forEach=[1, 2]), polls, parallel=True, delay=50)
    stage = Stage(flow, {"a": FAILS}, hold={"e[0]", "p~1"}).run()
    stage.end("e[0]", stage.progress.withheld("e[0]")).end("p~1", stage.progress.withheld("p~1"))
    assert stage.status("e") == stage.status("p") == "skipped:unreached"
    assert stage.closed["e"].detail == "step 'a' failed before; 2 of 2 items were not started"
    assert stage.started == ["a", "e[0]", "p~1"]


@given(st.data())
def test_an_interruption_at_any_point_of_any_tree_ends_everything(data):
    from dataclasses import replace

    def some(index):
        kinds = {
            "http": http(f"s{index}"),
            "poll": http(f"s{index}", until={"condition": "false", "interval": 0, "maxAttempts": 3}),
            "loop": http(f"s{index}", forEach=[1, 2, 3], maxConcurrency=2),
            "flow": {"id": f"s{index}", "flow": "inner.json", "inputs": {"who": "x"}},
            "flows": {
                "id": f"s{index}", "flow": "inner.json", "inputs": {"who": "x"}, "forEach": [1, 2], "maxConcurrency": 2,
            },
        }  # fmt: skip
        return kinds[data.draw(st.sampled_from(sorted(kinds)))]

    config = {"parallel": data.draw(st.booleans()), "maxConcurrency": data.draw(st.integers(1, 3))}
    flow = flow_of(
        *[some(index) for index in range(data.draw(st.integers(1, 4)))], stopOnError=False, **config
    )
    inner = inner_of(config={"parallel": data.draw(st.booleans()), "flowTimeout": 50})
    stage = Stage(replace(flow, home="/", source="outer.json"), read=inner, hold=Everything()).run()
    for _ in range(data.draw(st.integers(0, 8))):
        if stage.running:
            stage.finish(data.draw(st.sampled_from(sorted(stage.running))))
    path = data.draw(st.sampled_from(sorted({"", *stage.opened})))
    for leaf in stage.interrupt(path, "timed_out"):
        stage.end(leaf, Outcome("failed", failure=StepFailure("run.timed_out", "x"), ended_by="timed_out"))
    assert path or stage.outcome is not None
    stage.hold = set()
    stage.go_on()
    assert stage.outcome is not None
    assert not stage.progress.leaves
    assert not stage.progress.flows
    assert stage.progress.root.slots.used == 0


class Everything(set):
    """A set that has everything in it."""

    def __contains__(self, item):
        return True


@pytest.mark.parametrize(
    ("join", "ends", "visits"),
    [
        ("all", {"a": True, "b": True}, 1),
        ("all", {"a": True, "b": False}, 0),
        ("any", {"a": True, "b": True}, 1),
        ("any", {"a": False, "b": True}, 1),
        ("any", {"a": False, "b": False}, 0),
    ],
)
def test_the_edges_of_a_gate_open_it_together_and_once(join, ends, visits):
    flow = flow_of(
        http("a"), http("b"), http("t", join="each", maxVisits=9),
        edges=[edge(one, "t", "success", gate="g", join=join) for one in "ab"], parallel=True, stopOnError=False,
    )  # fmt: skip
    answers = {one: answer(status=200 if good else 500) for one, good in ends.items()}
    stage = Stage(flow, answers).run()
    assert [path for path in stage.started if path.startswith("t")] == ["t"] * visits


def test_a_gate_opens_again_when_one_of_its_sources_has_run_again():
    flow = flow_of(
        http("s"),
        http("a", join="each", maxVisits=3),
        http("t", join="each", maxVisits=9),
        edges=[
            edge("s", "t", gate="g", join="all"), edge("s", "a"),
            edge("a", "t", "success", gate="g", join="all"),
            edge("t", "a", join="each"),
        ],
    )  # fmt: skip
    stage = Stage(flow).run()
    assert [path for path in stage.started if path.startswith("t")] == ["t", "t#2", "t#3"]


def test_a_source_may_open_a_gate_by_one_of_several_edges():
    for value, started in ((1, ["t"]), (2, ["t"])):
        flow = flow_of(
            condition("c", "{{input.x}} === 1"), http("t", join="each", maxVisits=9),
            edges=[edge("c", "t", when, gate="g", join="all") for when in ("true", "false")],
        )  # fmt: skip
        stage = Stage(flow, inputs={"x": value}).run()
        assert [path for path in stage.started if path.startswith("t")] == started


def test_an_edge_that_is_not_taken_any_more_closes_its_gate():
    flow = flow_of(
        http("s"), http("t", join="each", maxVisits=9),
        http("a", join="each", maxVisits=3), http("b", join="each", maxVisits=3),
        edges=[
            edge("s", "a"), edge("a", "t", "success", gate="g", join="all"), edge("a", "b"), edge("b", "a", "success"),
            edge("b", "t", "success", gate="g", join="all"),
        ],
    )  # fmt: skip
    good = iter([200, 500, 500])
    stage = Stage(flow, {"a": lambda request: answer(status=next(good)), "b": answer()}).run()
    assert [path for path in stage.started if path.startswith("t")] == ["t"]
