"""Every spelling of the Steps format loads (seed 002; facts/gassapi 1)."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.document import Document, parse
from runner.core.model import Config, Edge, InputField, Retry, Step, Until
from runner.errors import FlowError
from runner.platforms import DIALECTS, read
from runner.platforms.steps import wire_names
from tests.play import problems_of

STEP = {"id": "a", "method": "GET", "url": "http://h.example/"}


def flow(**record):
    return read(Document.of(record))


def data(*steps, **more):
    return {"version": "1.0", "steps": list(steps), **more}


def told(loaded, severity="error"):
    return [(one.where, one.what) for one in problems_of(loaded) if one.severity == severity]


def test_the_put_body_loads():
    loaded = flow(
        name="n", description="d", folder_id="f", is_active=True,
        flow_inputs=[{"name": "x", "type": "email", "required": True}], flow_data=data(STEP, config={"delay": 5}),
    )  # fmt: skip
    assert (loaded.name, loaded.description, loaded.version) == ("n", "d", "1.0")
    assert loaded.inputs == (InputField(name="x", type="email", required=True),)
    assert loaded.steps[0].url == "http://h.example/"
    assert loaded.config.delay == 5
    assert problems_of(loaded) == []
    assert loaded.prefix == "flow_data."


def test_a_row_of_the_api_loads():
    inputs = [{"name": "x", "type": "string"}]
    loaded = flow(
        id="flow_1", name="n", flow_inputs=json.dumps(inputs), flow_data=json.dumps(data(STEP)), is_active=1,
        ui_data="{}", created_at="2025-10-25 10:30:00",
    )  # fmt: skip
    assert loaded.inputs == (InputField(name="x"),)
    assert [step.id for step in loaded.steps] == ["a"]
    assert problems_of(loaded) == []


def test_bare_flow_data_loads():
    loaded = flow(**data(STEP))
    assert [step.id for step in loaded.steps] == ["a"]
    assert loaded.inputs is None
    assert loaded.prefix == ""


def test_an_empty_list_is_an_empty_object_where_one_belongs():
    step = {**STEP, "headers": [], "outputs": [], "body": None, "query": []}
    loaded = flow(flow_inputs=[{"name": "x", "validation": []}], flow_data=data(step, config=[]))
    assert loaded.steps[0].headers == {}
    assert loaded.steps[0].outputs == {}
    assert loaded.inputs[0].validation == {}
    assert loaded.config == Config()
    assert problems_of(loaded) == []


def test_an_empty_list_as_a_body_stays_a_list():
    assert flow(**data({**STEP, "body": [], "headers": []})).steps[0].body == []


def test_inputs_may_be_an_object_by_name():
    loaded = flow(flow_inputs={"x": {"type": "number"}, "y": {"name": "z"}}, flow_data=data())
    assert [(one.name, one.type) for one in loaded.inputs] == [("x", "number"), ("z", "string")]


def test_a_default_has_two_spellings_and_null_is_one():
    loaded = flow(
        flow_inputs=[{"name": "x", "defaultValue": 5}, {"name": "y", "default": None}], flow_data=data()
    )
    assert [one.default for one in loaded.inputs] == [5, None]


@pytest.mark.parametrize(("given", "declared"), [(None, None), ([], ()), ("[]", ()), ("null", ())])
def test_no_inputs_key_means_open_and_an_empty_one_means_none(given, declared):
    assert flow(flow_inputs=given, flow_data=data()).inputs == declared


def test_a_missing_version_is_read_as_one_with_a_warning():
    loaded = flow(flow_data={"steps": [STEP]})
    assert loaded.version == "1.0"
    assert told(loaded, "warning") == [("", "no 'version'; read as '1.0'")]


@pytest.mark.parametrize(("given", "warned"), [("1.0", False), (1, False), (1.0, False), ("9.9", True)])
def test_an_unknown_version_is_warned_of(given, warned):
    assert bool(told(flow(version=given, steps=[]), "warning")) == warned


def test_a_patch_has_no_steps_and_is_no_error_here():
    for record in ({"name": "only"}, {"flow_data": None}, {"flow_data": []}, {"is_active": False}):
        assert not flow(**record).has_steps
        assert told(flow(**record)) == []


@pytest.mark.parametrize(
    ("given", "active"),
    [
        (True, True),
        (1, True),
        (None, True),
        ("1", True),
        (False, False),
        (0, False),
        ("0", False),
        ("false", False),
    ],
)
def test_what_counts_as_active(given, active):
    assert flow(name="n", is_active=given, flow_data=data()).is_active == active


def test_edges_are_read_with_their_defaults():
    loaded = flow(**data(STEP, edges=[{"from": "a", "to": "b", "label": "x"}]))
    assert loaded.edges == (Edge(source="a", target="b", when="done", join=None),)


def test_unknown_keys_are_kept_silently_and_near_misses_are_warned_of():
    step = {**STEP, "retryCout": 2, "colour": "red", "retry": {"maxAtempts": 2}}
    loaded = flow(name="n", flow_inputts=[], flow_data=data(step, confg={}), ai_version="x")
    assert sorted(told(loaded, "warning")) == [
        ("confg", "unknown key 'confg'; did you mean 'config'?"),
        ("flow_inputts", "unknown key 'flow_inputts'; did you mean 'flow_inputs'?"),
        ("steps[0].retry.maxAtempts", "unknown key 'maxAtempts'; did you mean 'maxAttempts'?"),
        ("steps[0].retryCout", "unknown key 'retryCout'; did you mean 'retryCount'?"),
    ]


def test_wrong_values_are_all_told_with_their_place_and_the_rest_is_read():
    loaded = flow(
        name=5,
        flow_inputs=[{"name": 5, "required": "perhaps"}],
        flow_data=data(
            {**STEP, "timeout": 0, "headers": "x", "secretOutputs": ["a", 5]},
            "no step",
            {**STEP, "id": "b", "auth": {"type": "magic"}, "retry": {"maxAttempts": "many"}},
            {
                **STEP,
                "id": "c",
                "auth": {"type": "basic"},
                "multipart": {"f": {"filename": "x"}},
                "join": "some",
            },
            config={"delay": 300_001},
            edges=[{"from": "a"}, {"from": "a", "to": "c", "when": "sometimes"}],
        ),
    )
    assert [where for where, _ in told(loaded)] == [
        "name", "flow_inputs[0].name", "flow_inputs[0].required", "edges[0]", "edges[1].when", "config.delay",
        "steps[0].headers", "steps[0].timeout", "steps[0].secretOutputs[1]", "steps[1]", "steps[2].auth", "steps[2].retry.maxAttempts",
        "steps[3].multipart.f", "steps[3].auth", "steps[3].join",
    ]  # fmt: skip
    texts = dict(told(loaded))
    assert texts["steps[0].timeout"] == "must be greater than or equal to 1, not 0"
    assert texts["steps[3].join"] == "must be 'all', 'any' or 'each', not 'some'"
    assert texts["edges[0]"] == "the key 'to' is missing"
    assert loaded.steps[0].url == "http://h.example/"
    assert loaded.steps[2].id == "b"


@pytest.mark.parametrize(
    ("record", "where"),
    [
        ({"flow_data": {"steps": "x", "version": "1"}}, "steps"),
        ({"flow_data": "not json"}, "flow_data"),
        ({"flow_data": 5}, "flow_data"),
        ({"flow_data": '"text"'}, "flow_data"),
        ({"flow_inputs": "{", "flow_data": data()}, "flow_inputs"),
        ({"flow_inputs": 5, "flow_data": data()}, "flow_inputs"),
        ({"flow_inputs": {"x": 5}, "flow_data": data()}, "flow_inputs[0]"),
        ({"flow_data": data(config=5)}, "config"),
        ({"description": [], "flow_data": data()}, "description"),
    ],
)
def test_what_is_of_the_wrong_type_is_told(record, where):
    assert [place for place, _ in told(flow(**record))] == [where]


def test_a_document_of_no_dialect_names_its_keys_and_the_dialects():
    with pytest.raises(FlowError) as caught:
        read(Document.of({"spans": [], "name": "x"}))
    known = ", ".join(DIALECTS)
    assert str(caught.value) == f"no flow of a known dialect ({known}); keys found: 'spans', 'name'"
    with pytest.raises(FlowError, match="keys found: none"):
        read(Document.of({}))
    with pytest.raises(FlowError):
        read(Document.of({"nodes": [], "connections": []}))


@pytest.mark.parametrize("inside", [{"nodes": []}, '{"nodes": []}'])
def test_a_drawing_is_no_flow_in_the_steps_format(inside):
    with pytest.raises(FlowError, match="no flow of the dialect steps; keys found: 'flow_data'"):
        read(Document.of({"flow_data": inside}), "steps")


def test_names_come_from_the_file():
    loaded = read(parse(json.dumps(data(STEP)).encode(), name="dir/orders.v2.json"))
    assert loaded.label == "orders.v2"


@pytest.mark.parametrize("kind", [Step, Config, Retry, Until, Edge, InputField])
def test_every_key_of_the_document_is_a_field_of_its_class(kind):
    names = wire_names(kind)
    assert len(names) == len(set(names.values()))
    assert all(" " not in name and not name.endswith("_") for name in names)


def test_keys_are_spelt_as_the_documents_spell_them():
    assert {"retryCount", "assert", "forEach", "bodyFile", "dependsOn"} <= wire_names(Step).keys()
    assert {"from", "to", "when", "join", "gate"} == wire_names(Edge).keys()
    assert "name" in wire_names(InputField)


def test_every_dialect_can_read():
    assert "steps" in DIALECTS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(wire_names(Step))), inner)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["name", "flow_inputs", "flow_data", "is_active", "version", "steps"]), JSON
    )
)
def test_any_document_gives_a_flow_or_problems(record):
    with suppress(FlowError):
        assert isinstance(problems_of(read(Document.of(record))), list)


@given(st.lists(st.dictionaries(st.sampled_from(sorted(wire_names(Step))), JSON), max_size=3))
def test_any_step_gives_a_flow_or_problems(steps):
    loaded = flow(version="1.0", steps=steps)
    assert len(list(loaded.steps)) in (0, len(steps))
