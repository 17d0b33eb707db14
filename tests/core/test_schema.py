"""The JSON Schema and the reader of the Steps format agree."""

import json
from dataclasses import fields

import pytest
from jsonschema import Draft202012Validator

from runner.core.document import Document
from runner.core.model import (
    BasicAuth,
    BearerAuth,
    Config,
    Edge,
    FilePart,
    InputField,
    OAuth2Auth,
    Retry,
    Step,
    Until,
)
from runner.core.schema import OBJECTS, RECOGNISED, flow_schema
from runner.errors import FlowError
from runner.platforms import read, steps
from tests.play import problems_of

SCHEMA = flow_schema()
STEP = {"id": "a", "method": "GET", "url": "https://example.org/a"}
DATA = {"version": "1.0", "steps": [STEP], "config": {"retryCount": 1}}
RECORD = {"name": "f", "flow_inputs": [{"name": "x", "type": "string"}], "flow_data": DATA}


def accepts(value):
    return Draft202012Validator(SCHEMA).is_valid(value)


def reads(value):
    """Whether the reader takes the document without an error."""
    try:
        return not [problem for problem in problems_of(read(Document.of(value))) if problem.is_error]
    except FlowError:
        return False


def with_step(**keys):
    return {**RECORD, "flow_data": {**DATA, "steps": [{**STEP, **keys}]}}


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    json.dumps(SCHEMA, allow_nan=False)


@pytest.mark.parametrize(
    "kind", [Step, Edge, Config, InputField, Retry, Until, BasicAuth, BearerAuth, OAuth2Auth, FilePart]
)
def test_schema_and_reader_know_the_same_keys(kind):
    known = set(steps.wire_names(kind))
    assert len(known) == len(fields(kind))
    if kind is InputField:
        known.add("defaultValue")
    assert set(SCHEMA["$defs"][kind.__name__]["properties"]) == known


def test_the_keys_around_the_steps_are_those_of_the_reader():
    assert set(SCHEMA["properties"]) == steps.RECORD_KEYS | steps.DATA_KEYS
    assert set(RECOGNISED) == steps.PATCH_KEYS | {"flow_data", "steps"}
    assert OBJECTS == steps.OBJECTS


@pytest.mark.parametrize(
    "value",
    [
        RECORD,
        DATA,
        {**RECORD, "flow_data": json.dumps(DATA), "flow_inputs": json.dumps([{"name": "x"}]), "is_active": 1},
        {**RECORD, "flow_inputs": "", "flow_data": json.dumps(DATA)} | {"flow_inputs": None},
        {**RECORD, "flow_inputs": {"x": {"type": "string"}}},
        {**RECORD, "flow_inputs": []},
        {**RECORD, "flow_data": []},
        {**RECORD, "flow_data": None},
        {"name": "renamed"},
        {"is_active": False},
        {**DATA, "name": "flat", "flow_inputs": []},
        {**DATA, "config": []},
        {**DATA, "version": 1},
        {**DATA, "edges": [{"from": "a", "to": "a", "when": "failure"}]},
        with_step(headers=[], outputs=[], query=[], form=[], set=None),
        with_step(headers=None, timeout=None, condition=None),
        with_step(unknownKey={"kept": True}),
        with_step(auth={"type": "bearer", "token": "{{env.T}}", "more": 1}),
        with_step(expectedStatus=["2xx", 404], until={"condition": "true"}, forEach=[1, 2]),
        with_step(multipart={"a": "text", "b": {"file": "x.bin"}}),
        {**RECORD, "folder_id": None, "ui_data": {"nodes": []}, "id": 7, "description": None},
    ],
)
def test_every_spelling_is_accepted_by_both(value):
    assert reads(value)
    assert accepts(value), next(Draft202012Validator(SCHEMA).iter_errors(value))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"flow_data": 5},
        {"flow_data": {"steps": "none"}},
        {"flow_data": {"steps": [5]}},
        {"name": 5, "flow_data": DATA},
        with_step(method=5),
        with_step(timeout=0),
        with_step(timeout="soon"),
        with_step(auth=[]),
        with_step(auth={"type": "magic"}),
        with_step(until={"interval": 5}),
        with_step(headers=["x"]),
        with_step(onError="explode"),
        {**DATA, "edges": [{"from": "a"}]},
        {**DATA, "edges": [{"from": "a", "to": "a", "when": "perhaps"}]},
        {**DATA, "config": {"retryCount": 11}},
        {**RECORD, "flow_inputs": [{"name": "x", "validation": 5}]},
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(value):
    assert not reads(value)
    assert not accepts(value)


@pytest.mark.parametrize("name", sorted({*steps.wire_names(Step), *steps.wire_names(Config)} - {"id"}))
def test_an_empty_list_and_null_mean_the_same_to_both(name):
    for value in ([], None):
        step = with_step(**{name: value})
        config = {**RECORD, "flow_data": {**DATA, "config": {name: value}}}
        assert accepts(step) == reads(step)
        assert accepts(config) == reads(config)


def test_every_key_is_described():
    for name, definition in SCHEMA["$defs"].items():
        for key, schema in definition["properties"].items():
            assert schema.get("description") or key == "type", f"{name}.{key}"
