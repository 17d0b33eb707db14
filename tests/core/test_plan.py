"""Everything that is wrong with a flow, at once, with its place and what to do (DESIGN 3, Graph)."""

import json
from dataclasses import replace

import pytest

from runner.core.document import Document, parse
from runner.core.model import Flow
from runner.core.plan import MAX_NESTED_FLOWS, build_plan
from runner.errors import FlowError, Problem, StepError
from runner.platforms import read
from tests.play import flow_of, http


def problems(*steps, inputs=None, severity="error", **config):
    flow = flow_of(*steps, **config)
    if inputs is not None:
        fields = read(Document.of({"flow_inputs": inputs, "flow_data": {"steps": []}})).inputs
        flow = replace(flow, inputs=fields)
    return [(one.code, one.where, one.what) for one in build_plan(flow).problems if one.severity == severity]


def test_a_misspelt_output_is_found_with_its_place_and_the_close_match():
    data = json.dumps(
        {
            "name": "reg",
            "flow_inputs": [],
            "flow_data": {
                "version": "1.0",
                "steps": [
                    http("register", outputs={"activationToken": "response.body.t"}),
                    http("verify", body={"token": "{{register.activationTokn}}"}),
                ],
            },
        },
        indent=1,
    ).encode()
    plan = build_plan(read(parse(data, name="flow.json")))
    assert [str(problem) for problem in plan.errors] == [
        (
            "flow.json:20:15 steps[1].body.token: "
            "no output 'activationTokn' on step 'register'; did you mean 'activationToken'?"
        )
    ]


def secrets_of(*steps, read=None, **config):
    return {step.id: set(step.extras.secret) for step in build_plan(flow_of(*steps, **config), read).steps}


def test_an_output_that_is_used_as_credentials_is_secret():
    outputs = {"token": "response.body.t", "user": "response.body.u", "key": "response.body.k"}
    found = secrets_of(
        http("login", outputs=outputs, secretOutputs=["user"]),
        http("keys", outputs={"list": "response.body"}),
        {"id": "made", "set": {"bearer": "Bearer {{login.token}}", "plain": "{{keys.list}}"}},
        http("a", headers={"Authorization": "{{made.bearer}}", "X-User": "{{made.plain}}"}),
        http("b", headers={"x-api-key": "{{ login['key'] }}"}, body={"x": "{{login.user}}"}),
        http("c", forEach="{{keys.list}}", auth={"type": "bearer", "token": "{{item.value}}"}),
        http("d", headers={"Authorization": "{{input.x}} {{login}}"}),
    )
    assert found == {
        "login": {"token", "user", "key"}, "keys": {"list"}, "made": {"bearer"}, "a": set(), "b": set(), "c": set(),
        "d": set(),
    }  # fmt: skip


def test_what_a_flow_step_keeps_secret_is_secret_in_its_flow():
    inner = replace(
        flow_of(http("get", outputs={"t": "response.body.t", "u": "response.body.u"})), source="inner"
    )

    def read_inner(path, flow):
        return inner

    def plan_of(**keys):
        outer = replace(
            flow_of({"id": "f", "flow": "inner.json", "outputs": {"x": "get.t", "y": "get.u", "z": "gone.t"}, **keys},
                    http("use", headers={"Cookie": "{{f.y}}"})),
            home=".",
        )  # fmt: skip
        return build_plan(outer, read_inner)

    assert plan_of(secretOutputs=["x"]).steps[0].work.plan.steps[0].extras.secret == {"t", "u"}
    assert plan_of().steps[0].work.plan.steps[0].extras.secret == {"u"}


def test_an_output_that_becomes_a_password_input_of_a_flow_is_secret():
    fields = [{"name": "p", "type": "password"}, {"name": "u"}]
    inner = read(Document.of({"flow_inputs": fields, "flow_data": {"version": "1.0", "steps": []}}))
    outer = flow_of(
        http("login", outputs={"t": "response.body.t", "u": "response.body.u"}),
        {"id": "f", "flow": "inner.json", "inputs": {"p": "{{login.t}}", "u": "{{login.u}}"}},
    )
    plan = build_plan(replace(outer, home="."), lambda path, flow: replace(inner, source="inner"))
    assert plan.steps[0].extras.secret == {"t"}


def test_all_problems_are_told_at_once():
    found = problems(
        http("a", query={"x": "{{b.y}}"}, condition="1 ==="),
        {"id": "b", "method": "GET"},
        {"id": "a", "url": "http://x", "method": "GET", "headers": {"x": "{{ 1 + }}"}},
        {"method": "GET", "url": "/x"},
        http("input"),
        http("bad id"),
    )
    assert [(code, where) for code, where, _ in found] == [
        ("condition.syntax", "steps[0].condition"),
        ("step.required", "steps[1]"),
        ("step.duplicate_id", "steps[2].id"),
        ("template.syntax", "steps[2].headers.x"),
        ("step.required", "steps[3]"),
        ("step.reserved_id", "steps[4].id"),
        ("step.id", "steps[5].id"),
        ("reference.forward", "steps[0].query.x"),
    ]


def test_a_step_without_its_required_fields_is_refused_in_the_words_of_the_seed():
    found = problems({"method": "GET", "url": "http://x"}, {"id": "a"})
    assert [what for _, _, what in found] == [
        "Step missing required field 'id'",
        "Step missing required field 'method'",
        "Step missing required field 'url'",
    ]


@pytest.mark.parametrize(
    ("text", "code", "remedy"),
    [
        ("{{regster.id}}", "reference.unknown_step", "did you mean 'register'?"),
        ("{{register.idd}}", "reference.unknown_output", "did you mean 'id'?"),
        ("{{register.zzz}}", "reference.unknown_output", "declare it in the step's 'outputs'"),
        ("{{input.nam}}", "reference.unknown_input", "did you mean 'name'?"),
        ("{{input.zzz}}", "reference.unknown_input", "declare it in flow_inputs"),
        ("{{me.x}}", "reference.itself", "own outputs"),
        ("{{item.x}}", "reference.no_item", "forEach"),
        ("{{index}}", "reference.no_item", "forEach"),
        ("{{response.body}}", "reference.no_response", "declare an output"),
        ("{{config.timeout}}", "reference.unsupported", "no values here"),
        ("{{runtime.x}}", "reference.unsupported", "no values here"),
        ("{{$uid}}", "reference.unknown_value", "did you mean '$uuid'?"),
        ("{{later.x}}", "reference.forward", "move it up"),
    ],
)
def test_references_that_lead_nowhere(text, code, remedy):
    found = problems(
        http("register", outputs={"id": "response.body.id"}),
        http("me", query={"q": text}),
        http("later", outputs={"x": "response.body.x"}),
        inputs=[{"name": "name"}],
    )
    assert [(one[0], one[1]) for one in found] == [(code, "steps[1].query.q")]
    assert remedy in found[0][2]


def test_references_that_lead_somewhere():
    found = problems(
        http("r", outputs={"id": "response.body.id"}),
        {"id": "c", "condition": "{{r.id}} === 1"},
        {"id": "s", "set": {"v": "{{r}}"}},
        http("a", query={"a": "{{c.result}}{{c.label}}{{s.v}}{{input.name}}{{name}}{{$uuid}}{{env.X}}{{input}}"}),
        http("b", forEach="{{r.id}}", query={"x": "{{item.a}}{{index}}"}, body="{{env}}{{headers}}"),
        http("d", **{"assert": "response.status === 200"},
             until={"condition": "response.body.ok", "interval": 0}),
        inputs=[{"name": "name"}],
    )  # fmt: skip
    assert found == []


def test_what_a_flow_needs_from_outside_is_noted_with_its_first_place():
    flow = flow_of(
        http(
            "a",
            url="{{env.API}}/x",
            headers={"X": "{{headers.X-Id}}"},
            query={"q": "{{input.q}}", "b": "{{base}}"},
        ),
        http("b", url="{{env.API}}/{{env.CURRENT_TIMESTAMP}}", query={"s": "{{ env.SOFT | default('x') }}"}),
        http(
            "c",
            query={
                "s": "{{ input.soft | default('') }}{{ headers.Soft | default('') }}{{ flat | default('')}}"
            },
        ),
    )
    needs = build_plan(flow).needs
    assert needs.env == {"API": "steps[0].url"}
    assert needs.headers == {"x-id": "steps[0].headers.X"}
    assert needs.inputs == {"q": "steps[0].query.q"}
    assert needs.flat == {"base": "steps[0].query.b"}


def test_the_base_url_counts_only_where_a_url_is_relative():
    relative = build_plan(flow_of(http("a", url="/x"), baseUrl="{{env.BASE}}"))
    absolute = build_plan(flow_of(http("a"), baseUrl="{{env.BASE}}"))
    assert relative.needs.env == {"BASE": "config.baseUrl"}
    assert build_plan(flow_of(http("a", url="{{$uuid}}"), baseUrl="{{env.BASE}}")).needs.env == {}
    assert absolute.needs.env == {}


def test_warnings_are_told_and_forbid_nothing():
    found = problems(
        {"id": "c", "condition": "{{input.x}}"},
        http("a", maxVisits=3, join="any"),
        severity="warning",
    )
    assert [(code, where) for code, where, _ in found] == [
        ("flow.open_inputs", ""),
        ("condition.no_edges", "steps[0]"),
        ("step.ignored_key", "steps[1].maxVisits"),
        ("step.ignored_key", "steps[1].join"),
    ]


def test_an_inactive_flow_and_a_patch_are_told():
    inactive = read(Document.of({"is_active": False, "flow_data": {"version": "1.0", "steps": []}}))
    assert [(one.code, one.severity) for one in build_plan(inactive).problems] == [
        ("flow.inactive", "warning")
    ]
    patch = read(Document.of({"name": "only the name"}))
    assert [one.what for one in build_plan(patch).errors] == [
        "the document has no steps: it is a patch, which can be pushed and not run"
    ]


def test_passwords_are_the_secret_inputs():
    flow = read(
        Document.of(
            {
                "flow_inputs": [{"name": "p", "type": "password"}, {"name": "u"}],
                "flow_data": {"version": "1.0", "steps": []},
            }
        )
    )
    assert build_plan(flow).secret_inputs == {"p"}


# --- flows that run flows ------------------------------------------------------------------------


def files(**documents):
    """Return a reader of flows kept in memory, by name."""

    def reader(path, by):
        if path not in documents:
            raise StepError("file.missing", f"there is no file {path!r}")
        data = json.dumps(documents[path]).encode()
        return replace(read(parse(data, name=path)), home="/home", source=path)

    return reader


def main(*steps):
    return replace(flow_of(*steps), home="/home", source="main")


def calls(step_id, path, **keys):
    return {"id": step_id, "flow": path, **keys}


def data(*steps):
    return {"version": "1.0", "steps": list(steps)}


def test_the_problems_of_an_inner_flow_are_told_with_its_own_place():
    plan = build_plan(main(calls("a", "inner")), files(inner=data(http("x", query={"q": "{{gone.y}}"}))))
    assert [(one.code, one.place.file, one.where) for one in plan.errors] == [
        ("reference.unknown_step", "inner", "steps[0].query.q")
    ]


def test_a_file_that_is_missing_is_told_at_the_step():
    plan = build_plan(main(calls("a", "gone"), http("b", query={"x": "{{a.x.y}}"})), files())
    assert [(one.code, one.where) for one in plan.errors] == [("file.missing", "steps[0].flow")]


def test_a_file_that_is_no_flow_is_told_with_its_problems():
    plan = build_plan(main(calls("a", "inner")), files(inner={"some": "thing"}))
    assert [one.code for one in plan.errors] == ["document.dialect"]


def test_a_flow_without_a_file_cannot_run_others():
    plan = build_plan(flow_of(calls("a", "inner")), files(inner=data()))
    assert [one.code for one in plan.errors] == ["flow.unreadable"]
    assert [one.code for one in build_plan(main(calls("a", "inner"))).errors] == ["flow.unreadable"]


def test_a_flow_that_runs_itself_is_told_with_the_way():
    plan = build_plan(
        main(calls("a", "one")), files(one=data(calls("b", "two")), two=data(calls("c", "one")))
    )
    assert [(one.code, one.where) for one in plan.errors] == [("flow.cycle", "steps[0].flow")]
    assert "one -> two -> one" in plan.errors[0].what


def test_flows_nested_too_deeply_are_refused():
    documents = {f"f{n}": data(calls("a", f"f{n + 1}")) for n in range(MAX_NESTED_FLOWS + 5)}
    plan = build_plan(main(calls("a", "f0")), files(**documents))
    assert [one.code for one in plan.errors] == ["flow.depth"]


def test_a_flow_used_twice_is_planned_once():
    plan = build_plan(main(calls("a", "inner"), calls("b", "inner")), files(inner=data(http("x"))))
    assert plan.steps[0].work.plan is plan.steps[1].work.plan


def test_what_inner_flows_need_the_outer_one_needs():
    inner = data(http("x", url="{{env.API}}/{{base}}", headers={"A": "{{headers.A}}"}))
    plan = build_plan(main(calls("a", "inner")), files(inner=inner))
    assert plan.needs.env == {"API": "steps[0].flow", "base": "steps[0].flow"}
    assert plan.needs.headers == {"a": "steps[0].flow"}


def test_outputs_of_an_inner_flow_are_checked_where_they_are_known():
    inner = data(http("x", outputs={"id": "response.body.id"}))
    steps = (
        calls("a", "inner"),
        calls("b", "inner", outputs={"id": "x.id", "bad": "not a path !"}),
        http("c", query={"ok": "{{a.x.id}}{{b.id}}", "no": "{{a.y}}", "neither": "{{b.idd}}"}),
    )
    plan = build_plan(main(*steps), files(inner=inner))
    assert [(one.code, one.where) for one in plan.errors] == [
        ("output.path", "steps[1].outputs.bad"),
        ("reference.unknown_output", "steps[2].query.no"),
        ("reference.unknown_output", "steps[2].query.neither"),
    ]


def test_references_in_the_inputs_of_a_flow_step_are_checked():
    plan = build_plan(main(calls("a", "inner", inputs={"x": "{{zzz.y}}"})), files(inner=data()))
    assert [(one.code, one.where) for one in plan.errors] == [("reference.unknown_step", "steps[0].inputs.x")]


def test_a_problem_that_knows_its_place_keeps_it():
    with pytest.raises(FlowError) as caught:
        parse(b"{", name="x.json")
    place = caught.value.problems[0].place
    flow = replace(flow_of(http("a")), problems=(Problem("x", "", "y", place=place),))
    assert build_plan(flow).problems[0].place == place


def test_warnings_of_an_inner_flow_are_told_once_however_often_it_runs():
    plan = build_plan(
        main(calls("a", "inner"), calls("b", "inner")), files(inner=data(http("x", tests=["t"])))
    )
    assert [(one.code, one.place.file) for one in plan.problems] == [("step.tests", "inner")]


def declaring(*inputs):
    return {"flow_inputs": list(inputs), "flow_data": data(http("x", outputs={"id": "response.body.id"}))}


def test_what_a_flow_step_gives_is_compared_with_what_the_flow_declares():
    inner = declaring(
        {"name": "who", "required": True}, {"name": "n", "required": True, "default": "1"}, {"name": "o"}
    )
    plan = build_plan(
        main(calls("a", "inner", inputs={"woh": 1}), calls("b", "inner", inputs={"who": 1})),
        files(inner=inner),
    )
    assert [(one.code, one.where) for one in plan.errors] == [
        ("input.undeclared", "steps[0].inputs.woh"),
        ("input.required", "steps[0].inputs"),
    ]
    assert "did you mean 'who'?" in plan.errors[0].what


def test_what_an_open_flow_uses_is_demanded_from_the_flow_step():
    inner = data(http("x", url="http://h.example/{{input.zone}}/{{region}}"))
    plan = build_plan(main(calls("a", "inner", inputs={"region": "eu"})), files(inner=inner))
    assert [(one.code, one.where) for one in plan.errors] == [("input.missing", "steps[0].inputs")]
    given = build_plan(main(calls("a", "inner", inputs={"zone": "z", "region": "eu"})), files(inner=inner))
    assert given.errors == ()
    assert given.needs.env == {}


def test_what_a_flow_step_takes_is_compared_with_what_the_flow_has():
    outputs = {"a": "x.id", "b": "x.idd", "c": "xx.id", "d": "x", "e": "s.q.id", "f": "s.q"}
    inner = data(http("x", outputs={"id": "response.body.id"}), calls("s", "deep"))
    deep = data(http("q", outputs={"id": "response.body.id"}))
    plan = build_plan(main(calls("a", "inner", outputs=outputs)), files(inner=inner, deep=deep))
    assert [(one.code, one.where) for one in plan.errors] == [
        ("reference.unknown_output", "steps[0].outputs.b"),
        ("reference.unknown_step", "steps[0].outputs.c"),
    ]


def test_an_id_that_begins_like_a_generated_value_is_refused():
    assert [code for code, _, _ in problems(http("$uuid"))] == ["step.id"]


def test_headers_that_inner_flows_need_are_needed_outside():
    inner = data(http("x", headers={"A": "{{headers.X-Id}}"}))
    assert build_plan(main(calls("a", "inner")), files(inner=inner)).needs.headers == {
        "x-id": "steps[0].flow"
    }


def test_what_an_open_inner_flow_takes_as_flat_names_is_needed_from_env_unless_given():
    inner = data(http("x", url="http://h.example/{{region}}"))
    assert build_plan(main(calls("a", "inner")), files(inner=inner)).needs.env == {"region": "steps[0].flow"}


def test_a_flow_made_without_a_document_has_problems_without_place():
    (problem,) = build_plan(Flow(has_steps=False)).problems
    assert (problem.code, problem.place) == ("flow.patch", None)
