"""Flows on the Versori platform, without a server: every call and every answer is written down here."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.commands import Request, SendRequest, Waited
from runner.core.integration_flow import IntegrationFlow, read
from runner.core.trace import SpanRecord
from runner.platforms.client import Done, Refusal, Tell
from runner.platforms.versori import (
    Context,
    Project,
    api,
    auth_headers,
    choose_context,
    delete,
    id_problems,
    list_flows,
    name_problems,
    pull,
    push,
)
from tests.emulators.versori import decode
from tests.play import answer, play

ORG, OTHER = "01J9ZK6V4Q8N3T5W7Y2B4D6F8H", "01J9ZK6V4Q8N3T5W7Y2B4D6F8J"
PROJECT = Project(ORG, "01J9ZK7AAAAAAAAAAAAAAAAAAA")
BASE = "https://platform.example/api/v2"
API = api(BASE, "Bearer", (("Authorization", "Bearer t"),))
FLOWS = f"{BASE}/o/{ORG}/projects/01J9ZK7AAAAAAAAAAAAAAAAAAA/workflows"


def span(name, number=1, **more):
    context = {"traceId": "9ea9841f48ab9d1b1160498e495dba21", "spanId": f"{number:016x}", "traceFlags": 1}
    return {
        "name": name,
        "startTime": "2026-01-01T00:00:00.120000000Z",
        "endTime": "2026-01-01T00:00:02.120000000Z",
        "duration": 2000.0,
        "attributes": {"task.id": name, "n": 7},
        "status": {"code": 0},
        "ended": True,
        "events": [{"name": "e", "timestamp": "2026-01-01T00:00:01.000000000Z", "attributes": {}}],
        "spanContext": context,
        **more,
    }


def document(*spans, name="hello"):
    return {"name": name, "description": "", "spans": list(spans)}


def written(*spans):
    """Return a document as the runner writes it."""
    return read(document(*spans)).to_json()


def sent(method, path="", body=None):
    def is_it(command):
        assert isinstance(command, SendRequest)
        assert (command.request.method, command.request.url) == (method, FLOWS + path)
        assert command.request.body == body
        return True

    return is_it


def told(text):
    return lambda command: isinstance(command, Tell) and text in command.text


def kept(body, **more):
    return answer(json.dumps({**decode(json.loads(body)), "id": "01JEMVLATR0000000000000000", **more}))


def pushed(body, reply, there=None, **more):
    """Play a push of `body` that the platform answers with `reply`."""
    before = answer(status=404) if there is None else answer(json.dumps(there))
    script = [(sent("GET", "/hello"), before), (lambda one: isinstance(one, Tell), Waited())]
    return play(push(API, PROJECT, "hello", body, **more), *script, (sent("PUT", "/hello", body), reply))


# --- push


def test_a_flow_that_is_not_there_is_created():
    body = written(span("a"), span("b", 2))
    done = play(
        push(API, PROJECT, "hello", body),
        (sent("GET", "/hello"), answer(status=404)),
        (told(f"sending 2 spans, 797 B, to {BASE}"), Waited()),
        (sent("PUT", "/hello", body), kept(body)),
    )
    assert done == Done("created", "hello", "2 spans")


def test_a_page_that_says_404_is_not_the_word_of_the_platform():
    done = play(
        push(API, PROJECT, "hello", written(span("a"))),
        (sent("GET", "/hello"), answer("<html>Not found, said the proxy</html>", 404)),
    )
    assert isinstance(done, Refusal)
    assert (str(done.status), done.remedy) == ("404", "is that the url of the API?")


@pytest.mark.parametrize(
    ("there", "shown"),
    [([span("a")] * 3, "3 spans -> 1"), ([span("a")], "1 span -> 1"), (None, "0 spans -> 1")],
)
def test_a_flow_that_is_there_is_replaced(there, shown):
    body = written(span("a"))
    assert pushed(body, kept(body), {**document(), "spans": there}) == Done("replaced", "hello", shown)


def test_a_flow_that_is_there_can_be_protected():
    done = play(
        push(API, PROJECT, "hello", written(), overwrite=False),
        (sent("GET", "/hello"), answer(json.dumps(document(span("a"))))),
    )
    assert done.message == "there is a flow 'hello' already, with 1 span, and it is not to be overwritten"


def test_protecting_what_is_there_does_not_hinder_a_new_flow():
    body = written(span("a"))
    assert pushed(body, kept(body), overwrite=False).verb == "created"


def test_the_name_is_one_part_of_the_path():
    seen = []
    program = push(API, PROJECT, "a/b ?ü", b'{"spans": []}')
    seen.append(next(program).request.url)
    assert seen == [f"{FLOWS}/a%2Fb%20%3F%C3%BC"]


def test_nothing_is_put_where_looking_is_refused():
    done = play(
        push(API, PROJECT, "hello", written()),
        (sent("GET", "/hello"), answer('{"code": "403000", "message": "forbidden"}', 403)),
    )
    assert done == Refusal("the platform answered 403: forbidden (403000)", 403, "403000")


def test_nothing_is_put_where_something_else_answers():
    done = play(
        push(API, PROJECT, "hello", written()),
        (sent("GET", "/hello"), answer("<html><title>Please log in</title></html>")),
    )
    assert done.message == "the platform answered 200, but with no flow"
    assert (done.details, done.remedy) == ("Please log in", "is that the url of the API?")


def test_an_answer_that_is_no_flow_is_no_success():
    assert pushed(written(), answer('{"ok": true}')).message == "the platform answered 200, but with no flow"


# --- errors


def test_the_fields_of_an_error_carry_the_names_of_their_spans():
    error = {
        "code": "400000",
        "message": "request body is invalid",
        "fields": [
            {"field": "spans[1].attributes.x", "message": "is a list"},
            {"field": "spans[7].name", "message": "is odd"},
            {"field": "name", "message": "is taken"},
            "?",
        ],
        "details": "see the manual",
    }
    done = pushed(written(span("a"), span("http-register", 2)), answer(json.dumps(error), 400))
    assert [*done.lines()] == [
        "the platform answered 400: request body is invalid (400000)",
        "  spans[1].attributes.x (http-register): is a list",
        "  spans[7].name: is odd",
        "  name: is taken",
        "  see the manual",
    ]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("<html><h1>Bad\n gateway</h1></html>", "the platform answered 404: Bad gateway"),
        ("", "the platform answered 404"),
        ('{"error": "x"}', 'the platform answered 404: {"error": "x"}'),
        ('{"message": "x"}', "the platform answered 404: x"),
        ('{"message": "x", "code": 7, "fields": {}}', "the platform answered 404: x (7)"),
    ],
)
def test_errors_of_any_form_are_shown(body, shown):
    done = play(delete(API, PROJECT, "hello"), (sent("DELETE", "/hello"), answer(body, 404)))
    assert done.message == shown


@pytest.mark.parametrize(
    ("scheme", "others"),
    [("Bearer", "--scheme JWT and --scheme cookie"), ("cookie", "--scheme Bearer and --scheme JWT")],
)
def test_a_refused_token_names_the_other_schemes(scheme, others):
    one = api(BASE, scheme, ())
    for text in ('{"code": "401000", "message": "unauthorized"}', "go away"):
        done = play(delete(one, PROJECT, "hello"), (sent("DELETE", "/hello"), answer(text, 401)))
        assert done.remedy == f"it was sent with --scheme {scheme}; there are {others} too"


# --- what was kept


def test_what_the_platform_writes_otherwise_and_means_the_same_is_no_loss():
    body = written(
        span("a", 1, endTime="2026-01-01T00:00:00.120000001Z", duration=0.000001),
        span("b", 2, attributes={"f": 1.0, "t": True, "s": "2026-01-01T00:00:00.10Z"}),
    )
    assert pushed(body, kept(body)).losses == ()
    assert b'.12Z"' in kept(body).body


VALUES = st.text() | st.booleans() | st.integers() | st.floats() | st.lists(st.integers()) | st.none()


@given(
    st.lists(st.tuples(st.text(), st.integers(0, 4 * 10**18), st.dictionaries(st.text(), VALUES)), max_size=4)
)
def test_nothing_that_the_runner_writes_is_lost_in_a_go_decoder(parts):
    records = []
    for number, (name, start, attributes) in enumerate(parts):
        record = SpanRecord(name, 1, number + 1, None, sequence=number, start=start, attributes=attributes)
        record.end, record.ended = start + number, True
        record.events = [("e", start, attributes)]
        records.append(record)
    body = IntegrationFlow("hello", "", records).to_json()
    assert pushed(body, kept(body)).losses == ()


def losses(change):
    body = written(span("a"), span("b", 2))
    answered = {**json.loads(kept(body).body)}
    change(answered["spans"])
    return pushed(body, answer(json.dumps(answered))).losses


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda spans: spans[1].pop("ended"), "spans[1].ended (b) was not kept"),
        (lambda spans: spans[1]["attributes"].pop("task.id"), "spans[1].attributes['task.id'] (b) was not kept"),
        (lambda spans: spans.pop(), "spans has 1 of 2 left"),
        (
            lambda spans: spans[0].update(startTime="2026-01-01T00:00:00.12000001Z"),
            'spans[0].startTime (a) was "2026-01-01T00:00:00.120000000Z" and is "2026-01-01T00:00:00.12000001Z"',
        ),
        (
            lambda spans: spans[0].update(startTime="soon"),
            'spans[0].startTime (a) was "2026-01-01T00:00:00.120000000Z" and is "soon"',
        ),
        (lambda spans: spans[0].update(endTime=5), 'spans[0].endTime (a) was "2026-01-01T00:00:02.120000000Z" and is 5'),
        (lambda spans: spans[0].update(ended=1), "spans[0].ended (a) was true and is 1"),
        (
            lambda spans: spans[0]["attributes"].update(n=10**400),
            f"spans[0].attributes.n (a) was 7 and is 1{'0' * 400}",
        ),
        (lambda spans: spans[0]["attributes"].update(n=7.5), "spans[0].attributes.n (a) was 7 and is 7.5"),
        (
            lambda spans: spans[0].update(name="x" * 80),
            f'spans[0].name (a) was "a" and is "{"x" * 80}"',
        ),
    ],
)  # fmt: skip
def test_what_is_missing_or_different_is_a_loss(change, expected):
    assert losses(change) == (expected,)


def test_what_the_platform_adds_is_no_loss():
    assert losses(lambda spans: spans[0].update(kind="internal")) == ()


def test_empty_things_may_be_left_out():
    def change(spans):
        for one in spans:
            for event in one["events"]:
                del event["attributes"]

    assert losses(change) == ()


def test_many_losses_are_counted():
    body = written(*(span("a", number) for number in range(1, 41)))
    answered = json.loads(kept(body).body)
    for one in answered["spans"]:
        del one["ended"]
    found = pushed(body, answer(json.dumps(answered))).losses
    assert (len(found), found[-1]) == (21, "… and 20 more")


# --- pull, list, delete


def test_a_flow_is_fetched_byte_for_byte():
    text = '{"id":"01JEMVLATR0000000000000000", "spans":null,\n "name":"hello"}'
    done = play(pull(API, PROJECT, "hello"), (sent("GET", "/hello"), answer(text)))
    assert done == Done("found", "hello", "0 spans", document=text.encode())


@pytest.mark.parametrize(("text", "status"), [("[]", 200), ('{"spans": 1}', 200), ("{}", 404)])
def test_what_is_no_flow_is_not_fetched(text, status):
    done = play(pull(API, PROJECT, "hello"), (sent("GET", "/hello"), answer(text, status)))
    assert (type(done), done.status) == (Refusal, status)


def test_flows_are_listed():
    text = json.dumps({"flows": [document(span("a")), {"name": "two", "description": "d", "spans": None}]})
    done = play(list_flows(API, PROJECT), (sent("GET"), answer(text)))
    assert done.rows == (("hello", "1 span", ""), ("two", "0 spans", "d"))
    assert done.document == text.encode()


def test_no_flows_are_an_empty_list():
    assert play(list_flows(API, PROJECT), (sent("GET"), answer('{"flows": null}'))).rows == ()


@pytest.mark.parametrize("text", ["{}", "[]", "<html>", '{"flows": [{}]}', '{"flows": [1]}'])
def test_what_is_no_list_is_refused(text):
    done = play(list_flows(API, PROJECT), (sent("GET"), answer(text)))
    assert done.message == "the platform answered 200, but with no list of flows"


def test_a_list_that_is_refused_is_told():
    assert play(list_flows(API, PROJECT), (sent("GET"), answer(status=404))).status == 404


def test_a_flow_is_deleted():
    assert play(delete(API, PROJECT, "hello"), (sent("DELETE", "/hello"), answer(b"", 204))) == Done(
        "deleted", "hello"
    )


# --- where to, and as whom


def test_the_schemes_have_their_headers():
    assert auth_headers("Bearer", "s") == (("Authorization", "Bearer s"),)
    assert auth_headers("JWT", "s") == (("Authorization", "JWT s"),)
    assert auth_headers("cookie", "s") == (("Cookie", "cookie=s"),)
    assert auth_headers("cookie", "cookie=s; a=b") == (("Cookie", "cookie=s; a=b"),)
    assert API.request("GET", "") == Request(
        "GET", BASE, (("Authorization", "Bearer t"), ("Accept", "application/json"))
    )


@pytest.mark.parametrize(
    ("value", "fine"),
    [(ORG, True), (ORG.lower(), True), ("acme", False), (f"{ORG[:-1]}U", False), ("", False)],
)
def test_ids_are_ulids(value, fine):
    found = [*id_problems("--org", value)]
    assert (found == []) is fine
    assert all(one.where == "--org" and "is no ULID" in one.what for one in found)


@pytest.mark.parametrize("name", ["", "\udcff", " ", ".", ".."])
def test_a_name_that_is_no_part_of_a_path_is_refused(name):
    assert [one.severity for one in name_problems(name)] == ["error"]


def test_a_name_with_odd_characters_is_a_warning():
    assert [*name_problems("hello-1.x_Y")] == []
    [one] = name_problems("Say hello/now")
    assert (one.severity, one.what) == (
        "warning", "'Say hello/now' has characters that urls do not like; 'Say-hello-now' has none",
    )  # fmt: skip


CONFIG = {
    "active_context": "main",
    "contexts": {
        "main": {"name": "main", "organisation_id": ORG, "jwt": "j1"},
        "stage": {"organisation_id": OTHER, "jwt": "j2", "url_overwrite": "https://s.example/api/v2/"},
    },
}
PINNED = {"project_id": "P1", "context": "stage"}


@pytest.mark.parametrize(
    ("config", "pinned", "org", "project", "expected"),
    [
        ({}, {}, None, None, Context()),
        (CONFIG, {}, None, None, Context(ORG, "", "j1", "", "main")),
        (CONFIG, PINNED, None, None, Context(OTHER, "P1", "j2", "https://s.example/api/v2/", "stage")),
        (CONFIG, PINNED, None, "P1", Context(OTHER, "P1", "j2", "https://s.example/api/v2/", "stage")),
        (CONFIG, PINNED, None, "P2", Context(ORG, "P1", "j1", "", "main")),
        (CONFIG, PINNED, ORG, None, Context(project="P1")),
        (CONFIG, {}, ORG.lower(), None, Context(ORG, "", "j1", "", "main")),
        (CONFIG, PINNED, OTHER, None, Context(OTHER, "P1", "j2", "https://s.example/api/v2/", "stage")),
        (CONFIG, {"project_id": "P1"}, None, None, Context(ORG, "P1", "j1", "", "main")),
        ({"active_context": "none", "contexts": {}}, {}, None, None, Context(name="none")),
        ({"active_context": 5, "contexts": [1]}, {"project_id": 7}, None, None, Context()),
        ({"active_context": "x", "contexts": {"x": "y"}}, {}, None, None, Context(name="x")),
    ],
)  # fmt: skip
def test_the_platforms_own_configuration_says_what_is_not_given(config, pinned, org, project, expected):
    assert choose_context(config, pinned, org, project) == expected
