"""What the library returns and `--json` prints (DESIGN 5; SEMANTICS, Secrets; Command line)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.actions import Spot
from runner.core.commands import Outcome, StepFailure
from runner.core.compiled import StepPlan
from runner.core.integration_flow import IntegrationFlow
from runner.core.redact import MASK, Masker
from runner.core.result import RunResult, StepResult, StepResults, run_status, shown_outputs
from runner.errors import RunFailed

START = 1_767_225_600_000_000_000


class Spans:
    """A trace that tells what it was asked for."""

    def write_trace(self, file, name=None, description=None):
        file.append((name, description))

    def integration_flow(self, name=None, description=None):
        return IntegrationFlow(name or "orders", description or "", ())


def step(path="a", status="succeeded", **keys):
    return StepResult(path, keys.pop("id", path), "A", "http", status, **keys)


def result(*steps, status="succeeded", masker=None, **keys):
    values = {
        "run_id": "run-1", "flow": "orders", "start": START, "end": START + 1_500_000, "trace_id": "0" * 31 + "1",
        "inputs": {}, "secret_inputs": frozenset(), "outputs": {}, **keys,
    }  # fmt: skip
    return RunResult(status=status, steps=steps, masker=Masker() if masker is None else masker, **values)


# --- steps ---------------------------------------------------------------------------------------


def test_a_step_that_succeeded_has_its_outputs_and_no_error():
    found = step(outputs={"n": 1}, attempts=2, duration_ms=1.5).to_json(Masker())
    assert found == {
        "path": "a", "id": "a", "name": "A", "type": "http", "visit": 1, "status": "succeeded", "reason": None,
        "attempts": 2, "durationMs": 1.5, "outputs": {"n": 1}, "error": None,
    }  # fmt: skip


def test_a_step_that_did_nothing_has_made_no_attempts_in_no_time():
    found = step().to_json(Masker())
    assert (found["attempts"], found["durationMs"], found["visit"], found["outputs"]) == (0, 0.0, 1, {})
    error = StepFailure("x.y", "m")
    assert step(status="failed", error=error).to_json(Masker())["handled"] is False


def test_a_skipped_step_tells_reason_and_detail():
    found = step(status="skipped", reason="condition", detail="{{input.x}} is false").to_json(Masker())
    assert (found["status"], found["reason"], found["detail"]) == (
        "skipped",
        "condition",
        "{{input.x}} is false",
    )
    assert "handled" not in found


@pytest.mark.parametrize("handled", [True, False])
def test_a_failed_step_tells_code_message_place_and_whether_it_was_handled(handled):
    found = step(status="failed", error=StepFailure("x.y", "m", "steps[0]"), handled=handled).to_json(
        Masker()
    )
    assert found["error"] == {"code": "x.y", "message": "m", "place": "steps[0]"}
    assert found["handled"] is handled


def test_everything_of_a_step_that_is_shown_is_masked():
    error = StepFailure("x.y", "no hunter2", "steps[0]")
    raw = StepResult(
        "a", "a", "for hunter2", "http", "failed", outputs={"t": 5, "u": ["hunter2"]}, error=error,
        detail="hunter2 is false", tainted=frozenset({"t"}),
    )  # fmt: skip
    found = raw.to_json(Masker(["hunter2"]))
    assert "hunter2" not in json.dumps(found)
    assert found["outputs"] == {"t": MASK, "u": [MASK]}
    assert raw.outputs == {"t": 5, "u": ["hunter2"]}


# --- runs ----------------------------------------------------------------------------------------


def test_a_result_is_json_in_the_agreed_shape():
    found = result(step(), inputs={"x": 1}, outputs={"a": {"n": None}}).to_json()
    assert json.loads(json.dumps(found)) == {
        "runId": "run-1",
        "flow": "orders",
        "status": "succeeded",
        "startTime": "2026-01-01T00:00:00.000000000Z",
        "endTime": "2026-01-01T00:00:00.001500000Z",
        "durationMs": 1.5,
        "traceId": "00000000000000000000000000000001",
        "inputs": {"x": 1},
        "steps": [step().to_json(Masker())],
        "outputs": {"a": {"n": None}},
    }


def test_inputs_and_outputs_are_raw_in_the_result_and_masked_in_its_json():
    ran = result(
        step(outputs={"t": "hunter2"}), flow="for hunter2", inputs={"pw": "ab", "note": "is hunter2"},
        secret_inputs=frozenset({"pw"}), outputs={"a": {"t": "hunter2", "hunter2": 1}}, masker=Masker(["hunter2"]),
    )  # fmt: skip
    found = ran.to_json()
    assert found["inputs"] == {"pw": MASK, "note": f"is {MASK}"}
    assert found["outputs"] == {"a": {"t": MASK, "hunter2": 1}}
    assert found["flow"] == f"for {MASK}"
    assert ran.outputs["a"]["t"] == ran.steps[0].outputs["t"] == "hunter2"
    assert "hunter2" not in repr(ran.masker)


@pytest.mark.parametrize(
    ("path", "step_id"), [("a", "a"), ("a#2", "a"), ("a%20b", "a b"), ("a[0]", "a")]
)  # fmt: skip
def test_a_secret_output_too_short_to_be_found_is_masked_in_the_outputs_of_every_visit(path, step_id):
    one = step(path, id=step_id, tainted=frozenset({"pin"}))
    other = step(f"{path}#9", id=step_id, tainted=frozenset({"pin2"}))
    ran = result(one, other, outputs={step_id: {"pin": 12, "pin2": 3, "n": 1}})
    assert ran.to_json()["outputs"] == {step_id: {"pin": MASK, "pin2": MASK, "n": 1}}


def test_a_secret_output_of_a_step_of_another_flow_does_not_mask_that_of_a_namesake():
    inner = step("sub/a", id="a", tainted=frozenset({"n"}))
    assert result(step("a"), inner, outputs={"a": {"n": 1}}).to_json()["outputs"] == {"a": {"n": 1}}


def test_the_repr_is_short_and_holds_no_values():
    ran = result(step(outputs={"t": "hunter2"}), inputs={"pw": "hunter2"}, outputs={"a": {"t": "hunter2"}})
    assert repr(ran) == "<RunResult run-1 'orders' succeeded, 1 steps>"


def test_a_step_is_found_by_its_path():
    ran = result(step("a"), step("a#2", id="a"))
    assert ran.step("a#2") is ran.steps[1]
    with pytest.raises(KeyError, match="b"):
        ran.step("b")


def test_a_run_that_succeeded_raises_nothing():
    assert result().ok
    result().raise_for_failure()


@pytest.mark.parametrize("status", ["failed", "cancelled", "timed_out"])
def test_any_other_run_raises_with_its_result(status):
    ran = result(status=status, failure=StepFailure("x.y", "no hunter2"), masker=Masker(["hunter2"]))
    assert not ran.ok
    with pytest.raises(RunFailed) as caught:
        ran.raise_for_failure()
    assert str(caught.value) == f"flow 'orders' {status}: no {MASK}"
    assert caught.value.result is ran


def test_a_failure_without_a_reason_is_told_too():
    with pytest.raises(RunFailed, match=r"^flow 'orders' cancelled$"):
        result(status="cancelled").raise_for_failure()


def test_the_trace_is_handed_on():
    ran, written = result(trace=Spans()), []
    assert ran.integration_flow().name == "orders"
    assert ran.integration_flow(name="n", description="d") == IntegrationFlow("n", "d", ())
    ran.write_trace(written, name="n", description="d")
    ran.write_trace(written)
    assert written == [("n", "d"), (None, None)]


# --- many steps ----------------------------------------------------------------------------------


def spot(index, *within, kind="http", visit=1):
    name = f"s {index}"
    return Spot(f"s%20{index}" + "/x" * len(within), "", kind, name, name.title(), visit=visit,
                order=(index, visit, *within))  # fmt: skip


def results(*ended, steps=4):
    found = StepResults([StepPlan(n, f"s {n}", f"S {n}", "http") for n in range(steps)])
    for one, outcome, ms in ended:
        found.add(one, outcome, ms)
    return found


GOOD = Outcome("succeeded", {"n": 1}, attempts=2)


def test_results_stand_as_the_flow_lists_the_steps():
    failure = StepFailure("x.y", "m")
    found = results(
        (spot(2), GOOD, 1.5),
        (spot(1, 7), GOOD, 2.5),
        (spot(1, 3), GOOD, 3.5),
        (spot(0, visit=2), GOOD, 4.5),
        (spot(0), Outcome("succeeded"), 0.5),
        (spot(1, kind="forEach"), GOOD, 5.5),
        (spot(3), Outcome("failed", failure=failure, handled=True), 6.5),
    )
    assert [(one.order, one.duration_ms) for one in found] == [
        ((0, 1), 0.5), ((0, 2), 4.5), ((1, 1), 5.5), ((1, 1, 3), 3.5), ((1, 1, 7), 2.5), ((2, 1), 1.5), ((3, 1), 6.5),
    ]  # fmt: skip
    assert (len(found), found[-1].error, found[-1].handled) == (7, failure, True)


def test_a_plain_result_says_what_any_other_does():
    plain, secret = results(
        (spot(0), GOOD, 1.5), (spot(1), Outcome("succeeded", {"n": 1}, tainted=frozenset("n")), 1.5)
    )
    assert plain == StepResult(
        "s%200",
        "s 0",
        "S 0",
        "http",
        "succeeded",
        attempts=2,
        duration_ms=1.5,
        outputs={"n": 1},
        order=(0, 1),
    )
    assert secret.tainted == {"n"}


def test_results_are_a_sequence():
    found = results((spot(0), GOOD, 1.0), (spot(1), GOOD, 2.0), (spot(3), GOOD, 3.0))
    assert found[1:] == (found[1], found[2])
    assert [one.path for one in reversed(found)] == ["s%203", "s%201", "s%200"]
    assert found[0] in found
    with pytest.raises(IndexError):
        found[3]
    assert list(results()) == []


def test_a_result_that_comes_later_is_listed_too():
    found = results((spot(1), GOOD, 1.0))
    assert len(found) == 1
    found.add(spot(0), GOOD, 2.0)
    assert [one.duration_ms for one in found] == [2.0, 1.0]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome("succeeded"), "succeeded"),
        (Outcome("failed"), "failed"),
        (Outcome("skipped"), "succeeded"),
        (Outcome("failed", ended_by="cancelled"), "cancelled"),
        (Outcome("failed", ended_by="timed_out"), "timed_out"),
    ],
)
def test_how_a_run_ended(outcome, status):
    assert run_status(outcome) == status


NAMES = st.sampled_from("abc")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["hunter2", "x hunter2 y", "plain"]),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
)


@given(st.dictionaries(NAMES, VALUES), st.frozensets(NAMES))
def test_shown_values_keep_their_names_and_hold_no_secret(values, secret):
    shown = shown_outputs(values, secret, Masker(["hunter2"]))
    assert shown.keys() == values.keys()
    assert "hunter2" not in json.dumps(shown)
    assert all(shown[name] == MASK for name in secret & values.keys())
