"""What DaVinci's console exports and what its admin API has are each made from the other (facts A2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.platforms.davinci_forms import (
    RENAMED,
    Variable,
    admin_form,
    admin_variable,
    export_form,
    is_admin,
    is_export,
    iso_of,
    ms_of,
    variables_of,
)

EXPORT = {
    "flowId": "f1", "companyId": "e1", "customerId": "c1", "name": "Sign on", "description": "d",
    "flowStatus": "enabled", "flowColor": "#AFD5FF", "connectorIds": ["httpConnector", "errorConnector"],
    "createdDate": 1713556322666, "savedDate": 1713556323000, "currentVersion": 4, "publishedVersion": 3,
    "graphData": {"elements": {"nodes": []}}, "inputSchema": [], "settings": {"logLevel": 2},
    "outputSchemaCompiled": {"output": {"type": "object"}}, "trigger": {"type": "AUTHENTICATION"},
    "variables": [], "versionId": 4,
}  # fmt: skip
ADMIN = {
    "id": "f1", "environment": {"id": "e1"}, "name": "Sign on", "description": "d", "enabled": True,
    "color": "#AFD5FF", "connectors": [{"id": "httpConnector"}, {"id": "errorConnector"}],
    "createdAt": "2024-04-19T19:52:02.666Z", "updatedAt": "2024-04-19T19:52:03.000Z", "currentVersion": 4,
    "publishedVersion": 3, "graphData": {"elements": {"nodes": []}}, "inputSchema": [],
    "settings": {"logLevel": 2}, "outputSchema": {"output": {"type": "object"}},
    "trigger": {"type": "AUTHENTICATION"},
}  # fmt: skip


def test_each_form_is_made_from_the_other():
    assert admin_form(EXPORT) == ADMIN
    assert export_form(ADMIN) == {
        name: value for name, value in EXPORT.items() if name not in ("customerId", "variables", "versionId")
    }
    assert (is_export(EXPORT), is_admin(EXPORT), is_export(ADMIN), is_admin(ADMIN)) == (
        True,
        False,
        False,
        True,
    )
    assert is_admin({"name": "x", "graphData": {}})


def test_there_and_back_again_is_the_same_document():
    links = {**ADMIN, "_links": {"self": {}}, "createdAt": "2024-04-19T19:52:02.66Z", "connectors": ["odd"]}
    assert admin_form(export_form(links, EXPORT), links) == links
    assert export_form(admin_form(EXPORT), EXPORT) == EXPORT


def test_only_what_differs_changes():
    changed = export_form({**ADMIN, "name": "Other"}, EXPORT)
    assert changed == {**EXPORT, "name": "Other"}
    assert export_form({"connectors": "odd"}) == {"connectorIds": "odd"}
    gone = {name: value for name, value in ADMIN.items() if name != "color"}
    assert "flowColor" not in export_form(gone, EXPORT)
    assert "color" not in admin_form({name: EXPORT[name] for name in EXPORT if name != "flowColor"}, ADMIN)


@pytest.mark.parametrize("odd", [None, True, "soon", 10**30, -(10**18), [1], {"a": 1}])
def test_what_is_no_time_stays_as_it_is(odd):
    assert iso_of(odd) == odd
    assert ms_of(odd) == odd


def test_times_have_milliseconds_and_a_zone():
    assert iso_of(0) == "1970-01-01T00:00:00.000Z"
    assert ms_of("2024-04-19T21:52:02.666+02:00") == ms_of("2024-04-19T19:52:02.666") == 1713556322666


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from([name for one in RENAMED for name in (one.export, one.admin)])


@given(st.dictionaries(KEYS | st.text(max_size=5), JSON, max_size=8))
def test_nothing_in_a_form_breaks_the_other(value):
    admin_form(value)
    export_form(value)
    kept = {one.export: value[one.export] for one in RENAMED if one.export in value}
    assert export_form(admin_form(kept), kept) == kept


def test_variables_are_read_from_both_forms():
    flow = {
        "variables": [
            {"name": "tries##SK##flowInstance", "context": "flow", "fields": {"type": "number", "value": 3, "max": 9}},
            {"name": "host", "context": "company", "dataType": "secret", "value": None},
            {"name": "bare"}, {"name": 7}, "text",
        ]
    }  # fmt: skip
    assert list(variables_of(flow)) == [
        Variable("tries", "flowInstance", "number", 3),
        Variable("host", "company", "secret"),
        Variable("bare", "flowInstance", "string"),
    ]
    assert list(variables_of({"variables": "none"})) == []
    assert admin_variable(flow["variables"][0]) == {
        "name": "tries", "context": "flowInstance", "dataType": "number", "max": 9, "value": 3,
    }  # fmt: skip
    assert admin_variable({"name": "x##SK##flow", "flowId": "f1", "fields": {"displayName": "X"}}) == {
        "name": "x", "context": "flow", "dataType": "string", "displayName": "X", "flow": {"id": "f1"},
    }  # fmt: skip
