"""A node that only its platform can run ends as a file or a recording says, visit by visit."""

from dataclasses import replace

import pytest

from runner.core.answers import Answers, flaws, listed, unanswered
from runner.core.commands import Outcome
from runner.core.compiled import StepPlan
from runner.core.model import External
from runner.core.plan import build_plan
from runner.core.redact import Masker
from tests.play import Stage, edge, flow_of, http

LOGIN = {"id": "login", "external": {"type": "web/form", "ask": "answers", "fields": ["name", "password"]}}
PAY = {"id": "pay", "name": "Pay the bill", "external": {"type": "shop/pay"}}


def outcome(given, external=None, visit=1, masker=None):
    plan = StepPlan(0, "login", "login", "external", external or External(type="web/form", ask="answers"))
    return given.outcome(plan, visit, Masker() if masker is None else masker)


def test_an_outcome_is_outputs_a_failure_or_both():
    assert outcome(Answers({"login": {"output": {"name": "ada"}}})).outputs == {"name": "ada"}
    failed = outcome(Answers({"login": {"error": {"code": 17, "message": "no"}, "output": {"tries": 3}}}))
    assert (failed.status, failed.failure.code, failed.failure.message) == ("failed", "17", "no")
    assert failed.outputs == {"tries": 3}
    bare = outcome(Answers({"login": {"error": {}}}))
    assert (bare.failure.code, bare.failure.message) == (
        "external.failed",
        "the scripted outcome is a failure",
    )


def test_the_nth_visit_takes_the_nth_outcome_and_one_outcome_serves_every_visit():
    several = Answers({"login": [{"output": {"n": 1}}, {"output": {"n": 2}}]})
    assert [outcome(several, visit=n).outputs for n in (1, 2)] == [{"n": 1}, {"n": 2}]
    assert outcome(several, visit=3).failure.code == "external.exhausted"
    assert outcome(Answers({"login": {"output": {"n": 1}}}), visit=9).outputs == {"n": 1}


@pytest.mark.parametrize(("branch", "taken"), [(None, None), ("true", "true"), ("-1", "case:-1")])
def test_a_branch_is_taken_where_one_is_named(branch, taken):
    assert outcome(Answers({"login": {"output": {}, "branch": branch}})).taken == taken


def test_the_id_of_a_node_wins_over_its_type_and_its_own_file_over_the_other():
    both = {"web/form": {"output": {"by": "type"}}, "login": {"output": {"by": "id"}}}
    assert outcome(Answers(both)).outputs == {"by": "id"}
    given = Answers({"login": {"output": {"by": "answer"}}}, {"login": {"output": {"by": "stub"}}}, True)
    assert outcome(given).source == "answer"
    assert outcome(given, External(type="web/form")).source == "stub"
    recorded = External(type="web/form", recorded={"output": {"by": "record"}})
    replayed = outcome(Answers(recorded=True), recorded)
    assert (replayed.source, replayed.outputs) == ("recording", {"by": "record"})
    assert outcome(Answers(), recorded).failure.code == "external.unanswered"


def test_what_is_entered_under_a_secret_name_is_masked():
    masker = Masker()
    entered = outcome(Answers({"login": {"output": {"password": "correct horse"}}}), masker=masker)
    assert entered.tainted == {"password"}
    assert masker.mask("it is correct horse") == "it is [masked]"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "is no outcome"),
        ("yes", "is no outcome"),
        ({"outputs": {}}, "is no outcome"),
        ([], "the list is empty; give an outcome for each visit"),
        ([{"output": {}}, 7], "is no outcome"),
        ({"output": "text"}, "'output' must be an object, not a text"),
        ({"error": []}, "'error' must be an object, not a list"),
        ({"branch": 1}, "'branch' must be a text: true, false or the id of a case"),
    ],
)
def test_what_is_no_outcome_is_told_with_the_form(given, told):
    [problem] = flaws(Answers({"login": given}), build_plan(flow_of(LOGIN)))
    assert (problem.code, problem.where) == ("external.shape", "--answers.login")
    assert told in problem.what
    assert "branch" in told or not given or '{"output": {…}}' in problem.what


@pytest.mark.parametrize("key", ["code", "message"])
def test_what_an_error_says_must_be_text(key):
    [problem] = flaws(Answers({"login": {"error": {key: 3}}}), build_plan(flow_of(LOGIN)))
    assert (problem.code, problem.where) == ("external.shape", f"--answers.login.error.{key}")
    assert problem.what.startswith("must be a text, not a number")


def test_an_outcome_that_no_node_needs_is_a_warning_with_the_close_match():
    given = Answers(stubs={"logn": {"output": {}}, "web/form": {"output": {}}})
    [problem] = flaws(given, build_plan(flow_of(LOGIN)))
    assert (problem.code, problem.severity) == ("external.unknown", "warning")
    assert "did you mean 'login'?" in problem.what


def test_what_is_missing_is_told_with_the_exact_key_to_add():
    plan = build_plan(flow_of(LOGIN, PAY))
    found = [problem for _, problem in unanswered(Answers(), plan)]
    assert [one.where for one in found] == ["steps[0]", "steps[1]"]
    assert 'answers.json: "login": {"output": {"name": "…", "password": "…"}}' in found[0].what
    assert "node 'pay' 'Pay the bill' (shop/pay): only its platform can run it" in found[1].what
    assert listed(plan) == {"answers": ["login"], "stubs": ["pay"]}
    assert not list(unanswered(Answers({"login": {"output": {}}}, {"shop/pay": {"output": {}}}), plan))


@pytest.mark.parametrize(
    ("platform", "ask", "recorded", "code"),
    [
        ("davinci", "answers", False, "davinci.needs_input"),
        ("davinci", "stubs", False, "davinci.unsupported_node"),
        ("nected", "stubs", False, "nected.unsupported_node"),
        ("nected", "stubs", True, "nected.no_recorded_output"),
        ("", "stubs", True, "external.unanswered"),
    ],
)
def test_a_platform_has_its_own_code_for_what_is_missing(platform, ask, recorded, code):
    step = {"id": "x", "external": {"platform": platform, "ask": ask}}
    [(_, problem)] = unanswered(Answers(recorded=recorded), build_plan(flow_of(step)))
    assert (problem.code, "(" in problem.what) == (code, False)


def test_the_nodes_of_a_flow_that_is_run_twice_are_told_once():
    inner = replace(flow_of(PAY), home="/", source="inner.json")
    outer = replace(
        flow_of({"id": "a", "flow": "inner.json"}, {"id": "b", "flow": "inner.json"}),
        home="/",
        source="outer.json",
    )
    plan = build_plan(outer, lambda path, by: inner)
    assert listed(plan) == {"stubs": ["pay"]}


def test_visits_are_counted_over_the_whole_run():
    steps = [http("a"), {**PAY, "join": "each", "maxVisits": 3}]
    flow = flow_of(*steps, http("b"), edges=[edge("a", "pay"), edge("b", "pay")], parallel=True)
    stage = Stage(flow, given=Answers(stubs={"pay": [{"output": {"n": 1}}, {"error": {"message": "broke"}}]}))
    stage.run()
    assert stage.closed["pay"].outputs == {"n": 1}
    assert stage.closed["pay#2"] == Outcome("failed", failure=stage.closed["pay#2"].failure, source="stub")
    assert stage.outcome.status == "failed"
