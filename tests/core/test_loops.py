"""forEach and until (SEMANTICS, Steps, containers, commands)."""

from dataclasses import replace

from runner.core.commands import Outcome, StepFailure
from tests.play import Stage, answer, flow_of, http

FAILS = answer(status=500)


def each(items="{{input.items}}", **keys):
    return http("e", url="http://h.example/{{item.id}}/{{index}}", forEach=items,
                outputs={"v": "response.body.v"}, **keys)  # fmt: skip


def items(count):
    return {"items": [{"id": n} for n in range(count)]}


def test_each_item_is_sent_in_order_and_the_outputs_become_lists():
    answers = {f"e[{n}]": answer(f'{{"v": {n * 10}}}') for n in range(3)}
    stage = Stage(flow_of(each(), http("z", query={"v": "{{e.v}}"})), answers, inputs=items(3)).run()
    assert stage.started == ["e[0]", "e[1]", "e[2]", "z"]
    assert stage.peak == 1
    assert [request.url for request in stage.requests[:2]] == ["http://h.example/0/0", "http://h.example/1/1"]
    assert stage.closed["e"].outputs == {"v": [0, 10, 20]}
    assert (stage.spots["e"].type, stage.spots["e[1]"].type) == ("forEach", "iteration")
    assert (stage.spots["e[1]"].index, stage.spots["e[1]"].parent) == (1, "e")


def test_several_items_run_at_once_even_in_list_order():
    assert Stage(flow_of(each(maxConcurrency=3)), inputs=items(7)).run().peak == 3


def test_the_flow_limit_bounds_the_items_too():
    assert Stage(flow_of(each(maxConcurrency=9), maxConcurrency=2), inputs=items(7)).run().peak == 2


def test_a_literal_list_is_rendered():
    stage = Stage(flow_of(each(items=[{"id": "{{input.a}}"}, {"id": 2}])), inputs={"a": "x"}).run()
    assert [request.url for request in stage.requests] == ["http://h.example/x/0", "http://h.example/2/1"]


def test_an_empty_list_succeeds_with_empty_lists():
    stage = Stage(flow_of(each(), http("z", query={"v": "{{e.v}}"})), inputs={"items": []}).run()
    assert stage.closed["e"].outputs == {"v": []}
    assert stage.started == ["z"]


def test_what_is_not_a_list_fails_the_step():
    stage = Stage(flow_of(each()), inputs={"items": {"a": 1}}).run()
    assert stage.closed["e"].failure.code == "forEach.not_a_list"
    assert "not an object" in stage.closed["e"].failure.message


def test_a_list_that_is_missing_fails_the_step():
    stage = Stage(flow_of(each(items="{{input.gone}}")), inputs={"items": []}).run()
    assert stage.closed["e"].failure.code == "reference.missing"
    assert stage.closed["e"].failure.where == "steps[0].forEach"


def test_an_item_skipped_by_its_condition_gives_null():
    answers = {"e[0]": answer('{"v": 1}'), "e[2]": answer('{"v": 3}')}
    stage = Stage(flow_of(each(condition="{{item.id}} !== 1")), answers, inputs=items(3)).run()
    assert stage.status("e[1]") == "skipped:condition"
    assert stage.closed["e"].outputs == {"v": [1, None, 3]}


def test_a_condition_without_item_decides_over_the_whole_loop():
    stage = Stage(flow_of(each(condition="{{input.go}} === true")), inputs=items(3) | {"go": False}).run()
    assert stage.statuses == {"e": "skipped:condition"}


def test_an_item_that_fails_stops_new_items_and_fails_the_step():
    stage = Stage(flow_of(each(), http("z")), {"e[1]": FAILS}, inputs=items(4)).run()
    assert stage.started == ["e[0]", "e[1]"]
    assert stage.closed["e"].failure.code == "http.status"
    assert stage.status("z") == "skipped:unreached"


def test_items_that_run_already_finish_after_another_failed():
    flow = flow_of(each(maxConcurrency=2))
    stage = Stage(flow, {"e[0]": FAILS}, inputs=items(4), hold={"e[1]"}).run()
    assert stage.started == ["e[0]", "e[1]"]
    assert "e" not in stage.closed
    stage.hold.clear()
    assert stage.go_on().statuses == {"e[0]": "failed", "e[1]": "succeeded", "e": "failed"}


def test_with_on_error_continue_a_failed_item_gives_null_and_is_handled():
    answers = {"e[0]": answer('{"v": 1}'), "e[1]": FAILS}
    stage = Stage(flow_of(each(onError="continue"), http("z")), answers, inputs=items(3)).run()
    assert stage.closed["e"].outputs == {"v": [1, None, None]}
    assert stage.closed["e[1]"].handled
    assert stage.outcome.status == "succeeded"


def test_the_step_budget_ends_a_loop_even_with_on_error_continue():
    stage = Stage(flow_of(each(onError="continue")), inputs=items(50), budget=3).run()
    assert len(stage.started) == 3
    assert stage.closed["e"].failure.code == "limit.steps"


def test_items_of_a_set_step_make_lists_of_what_they_set():
    step = {"id": "e", "forEach": [1, 2], "set": {"double": "{{ item * 2 }}"}}
    assert Stage(flow_of(step)).run().closed["e"].outputs == {"double": [2, 4]}


def test_a_loop_over_a_step_without_outputs_has_none():
    stage = Stage(flow_of({"id": "e", "forEach": [1, 2], "delay": 5})).run()
    assert stage.closed["e"].outputs == {}
    assert stage.waits == [0.005, 0.005]


def test_secret_outputs_of_items_stay_secret_in_the_lists():
    step = each(secretOutputs=["v"])
    stage = Stage(flow_of(step), {"e": answer('{"v": "topsecret"}')}, inputs=items(1)).run()
    assert stage.closed["e"].tainted == {"v"}


def test_a_loop_starts_no_more_items_once_another_step_has_failed():
    answers = {"x": FAILS, "e": answer('{"v": 1}')}
    flow = flow_of(http("x"), each(maxConcurrency=2), http("z"), parallel=True)
    stage = Stage(flow, answers, inputs=items(5), hold={"x", "e[1]"}).run()
    assert stage.started == ["x", "e[0]", "e[1]", "z", "e[2]", "e[3]", "e[4]"]
    stage = Stage(flow, answers, inputs=items(5), hold={"e[0]", "e[1]"}).run()
    stage.hold.clear()
    stage.go_on()
    assert stage.started == ["x", "e[0]", "e[1]", "z"]
    assert stage.status("e") == "skipped:unreached"
    assert stage.closed["e"].detail == "step 'x' failed before; 3 of 5 items were not started"
    assert stage.closed["e"].outputs == {"v": [1, 1, None, None, None]}
    assert stage.outcome.failure.code == "http.status"


def test_a_loop_whose_items_had_all_begun_when_another_step_failed_succeeds():
    flow = flow_of(http("x"), each(maxConcurrency=2), parallel=True)
    stage = Stage(flow, {"x": FAILS}, inputs=items(2), hold={"e[0]", "e[1]"}).run()
    stage.hold.clear()
    assert stage.go_on().status("e") == "succeeded"


def test_items_that_wait_for_a_slot_do_not_start_once_another_step_has_failed():
    flow = flow_of(http("x"), each(maxConcurrency=4), parallel=True, maxConcurrency=2)
    stage = Stage(flow, {"x": FAILS}, inputs=items(5), hold={"x", "e[0]"}).run()
    assert stage.started == ["x", "e[0]"]
    stage.finish("x")
    assert "e" not in stage.closed
    stage.hold.clear()
    assert stage.go_on().started == ["x", "e[0]"]
    assert stage.closed["e"].detail.endswith("4 of 5 items were not started")


def test_a_loop_none_of_whose_items_got_a_slot_ends_when_another_step_fails():
    flow = flow_of(http("x"), each(), parallel=True, maxConcurrency=1)
    stage = Stage(flow, {"x": FAILS}, inputs=items(3)).run()
    assert stage.statuses == {"x": "failed", "e": "skipped:unreached"}
    assert stage.progress.root.slots.used == 0


def test_the_loop_goes_on_after_a_failure_elsewhere_that_stops_nothing():
    flow = flow_of(http("x"), each(), parallel=True, stopOnError=False)
    stage = Stage(flow, {"x": FAILS}, inputs=items(3)).run()
    assert stage.status("e") == "succeeded"
    assert len(stage.requests) == 4


def with_inner(*steps, inner, **config):
    """Return a flow of these steps and of a step `sub` that runs the inner steps, and how that is read."""
    flow = flow_of({"id": "sub", "flow": "inner.json"}, *steps, parallel=True, **config)
    inside = replace(flow_of(*inner, parallel=True), home="/", source="inner.json")
    return {"flow": replace(flow, home="/", source="outer.json"), "read": lambda path, flow: inside}


def test_a_loop_inside_a_flow_that_is_let_finish_finishes_too():
    loop = each(items=[{"id": 1}, {"id": 2}])
    stage = Stage(**with_inner(http("x"), inner=[loop]), answers={"x": FAILS}).run()
    assert stage.status("sub/e") == "succeeded"
    assert stage.outcome.status == "failed"


def test_an_interrupted_loop_starts_no_more_items():
    stage = Stage(flow_of(each(maxConcurrency=2)), inputs=items(5), hold={"e[0]", "e[1]"}).run()
    assert stage.interrupt("", "cancelled") == ["e[0]", "e[1]"]
    ended = Outcome("failed", failure=StepFailure("run.cancelled", "x"), ended_by="cancelled")
    stage.end("e[0]", ended).end("e[1]", ended)
    assert stage.started == ["e[0]", "e[1]"]
    assert stage.closed["e"].ended_by == "cancelled"
    assert stage.outcome.ended_by == "cancelled"


def test_a_loop_whose_last_answer_came_with_the_interruption_counts_as_interrupted():
    stage = Stage(flow_of(each()), inputs=items(3), hold={"e[0]"}).run()
    stage.interrupt("", "timed_out")
    stage.hold.clear()
    stage.go_on()
    assert stage.closed["e[0]"].status == "succeeded"
    assert stage.closed["e"].ended_by == "timed_out"


# --- until ---------------------------------------------------------------------------------------


def poll(**keys):
    until = {"condition": "response.body.state === 'done'", "interval": 250, "maxAttempts": 3} | keys.pop(
        "until", {}
    )
    return http("p", until=until, outputs={"s": "response.body.state"}, **keys)


WAITING, DONE = answer('{"state": "waiting"}'), answer('{"state": "done"}')


def test_it_polls_until_the_condition_holds():
    flow = flow_of(poll(), http("z", query={"s": "{{p.s}}"}))
    stage = Stage(flow, {"p": [WAITING, DONE]}).run()
    assert stage.started == ["p~1", "p~2", "z"]
    assert stage.closed["p"].outputs == {"s": "done"}
    assert stage.closed["p"].attempts == 2
    assert (stage.spots["p"].type, stage.spots["p~2"].type, stage.spots["p~2"].poll) == ("until", "http", 2)


def test_it_waits_between_polls_and_not_before_the_first():
    stage = Stage(flow_of(poll()), {"p": [WAITING, DONE]}, hold={"p~1", "p~2"}).run()
    assert stage.running["p~1"].after == 0
    stage.finish("p~1")
    assert stage.running["p~2"].after == 0.25


def test_a_delay_precedes_the_first_poll_only():
    stage = Stage(flow_of(poll(delay=7)), {"p": [WAITING, DONE]}).run()
    assert stage.waits == [0.007]


def test_it_fails_when_the_polls_are_used_up():
    stage = Stage(flow_of(poll()), {"p": WAITING}).run()
    assert stage.started == ["p~1", "p~2", "p~3"]
    assert stage.closed["p"].failure.code == "until.exhausted"
    assert "in 3 polls" in stage.closed["p"].failure.message


def test_a_status_that_is_not_accepted_fails_the_step():
    stage = Stage(flow_of(poll()), {"p": [WAITING, answer(status=404)]}).run()
    assert stage.closed["p"].failure.code == "http.status"


def test_an_accepted_status_is_waited_through():
    flow = flow_of(poll(expectedStatus=[200, 404], until={"condition": "response.status === 200"}))
    assert Stage(flow, {"p": [answer(status=404), answer()]}).run().started == ["p~1", "p~2"]


def test_a_condition_in_error_fails_the_step():
    flow = flow_of(poll(until={"condition": "response.body.n > 'x'"}))
    stage = Stage(flow, {"p": answer('{"n": 1}')}).run()
    assert stage.closed["p"].failure.code == "condition.types"
    assert stage.closed["p"].failure.where == "steps[0].until.condition"


def test_an_interrupted_until_polls_no_more():
    stage = Stage(flow_of(poll()), {"p": WAITING}, hold={"p~1"}).run()
    stage.interrupt("", "timed_out")
    stage.hold.clear()
    stage.go_on()
    assert stage.started == ["p~1"]
    assert stage.closed["p"].ended_by == "timed_out"


def test_polls_of_items_nest_under_their_iteration():
    step = each(until={"condition": "response.body.v === 1", "interval": 0})
    stage = Stage(
        flow_of(step), {"e[1]~1": answer('{"v": 0}'), "e": answer('{"v": 1}')}, inputs=items(2)
    ).run()
    assert stage.started == ["e[0]~1", "e[1]~1", "e[1]~2"]
    assert stage.spots["e[1]~2"].parent == "e[1]"
    assert stage.closed["e"].outputs == {"v": [1, 1]}


def test_a_poll_that_was_waiting_for_a_slot_ends_with_an_interruption():
    flow = flow_of(http("a"), poll(), parallel=True, maxConcurrency=1)
    stage = Stage(flow, hold={"a"}).run()
    assert stage.started == ["a"]
    stage.interrupt("", "cancelled")
    stage.end("a", Outcome("failed", failure=StepFailure("run.cancelled", "x"), ended_by="cancelled"))
    assert stage.started == ["a"]
    assert stage.outcome.ended_by == "cancelled"


def test_items_that_wait_for_a_slot_end_with_an_interruption():
    stage = Stage(flow_of(each(maxConcurrency=3), maxConcurrency=1), inputs=items(3), hold={"e[0]"}).run()
    assert stage.interrupt("", "cancelled") == ["e[0]"]
    stage.end("e[0]", Outcome("failed", failure=StepFailure("run.cancelled", "x"), ended_by="cancelled"))
    assert stage.started == ["e[0]"]
    assert [stage.closed[f"e[{n}]"].ended_by for n in range(3)] == ["cancelled"] * 3
    assert stage.outcome.ended_by == "cancelled"


def test_a_first_poll_without_a_slot_does_not_start_once_another_step_has_failed():
    flow = flow_of(http("x"), poll(), parallel=True, maxConcurrency=1)
    stage = Stage(flow, {"x": FAILS}).run()
    assert stage.statuses == {"x": "failed", "p~1": "skipped:unreached", "p": "skipped:unreached"}
    assert stage.closed["p"].detail == "step 'x' failed before"


def test_polling_that_has_begun_goes_on_after_a_failure_elsewhere():
    outer = (http("g"), http("y", dependsOn=["g"]), http("z", dependsOn=["g"]))
    stage = Stage(
        **with_inner(*outer, inner=[poll(), http("x")], maxConcurrency=3),
        answers={"x": FAILS, "p": [WAITING, DONE]},
        hold={"g", "sub/p~1", "sub/x", "y", "z"},
    ).run()
    stage.finish("g").finish("sub/p~1")
    assert [*stage.running] == ["sub/x", "y", "z"]  # the next poll waits for a slot
    stage.finish("sub/x")
    assert stage.go_on().status("sub/p") == "succeeded"
