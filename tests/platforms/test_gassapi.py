"""Flows on GASSAPI, without a server: answers that no honest server gives, and those that PHP gives."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.commands import NoResponse, Request, SendRequest, Waited
from runner.platforms.client import Done, Refusal, Tell
from runner.platforms.differences import unlike
from runner.platforms.gassapi import (
    EMPTY,
    Server,
    Update,
    api,
    body_of,
    create,
    delete,
    drawn,
    duplicate,
    encoded,
    get,
    list_flows,
    losses,
    preview,
    pull,
    push,
    toggle,
)
from tests.emulators.gassapi import php
from tests.play import answer, play

SERVER = Server(api("https://h.example/backend", "secret"))
PATHS = Server(api("https://h.example/backend/", "secret"), paths=True)
DATA = {"version": "1.0", "steps": [{"id": "a", "name": "A", "method": "GET", "url": "/a"}]}
DRAWING = {
    "nodes": [{"id": "a", "type": "apiCall", "data": {"name": "A", "method": "GET", "url": "/a"}}],
    "edges": [],
}


def sent(method, target, body=None):
    def is_it(command):
        assert isinstance(command, SendRequest)
        assert (command.request.method, command.request.url) == (method, f"https://h.example/backend{target}")
        assert command.request.body == (None if body is None else encoded(body))
        assert ("Authorization", "Bearer secret") in command.request.headers
        return True

    return is_it


def told(text):
    return lambda command: isinstance(command, Tell) and text in command.text


def fine(data=None, status=200, **more):
    return answer(json.dumps({"success": True, "message": "Fine", "data": data, **more}), status)


def row(**more):
    return {"id": "f", "name": "Old", "description": None, "flow_inputs": "[]", "flow_data": json.dumps(DATA), "ui_data": None, "is_active": 1, **more}  # fmt: skip


GET = sent("GET", "/?act=flow_get&id=f")
GET_UI = sent("GET", "/?act=flow_detail_ui&id=f")
NOT_FOUND = answer(json.dumps({"status": "error", "message": "Flow not found"}), 404)


def put(body, act="flow_update"):
    return sent("PUT", f"/?act={act}&id=f", body)


# --- the form of a call


def test_ids_are_quoted_in_both_forms():
    assert SERVER.place("get", "a/b c") == ("GET", "/?act=flow_get&id=a%2Fb%20c")
    assert PATHS.place("update_ui", "a/b") == ("PUT", "/flow/a%2Fb/ui")
    assert PATHS.place("create", "p") == ("POST", "/project/p/flows")


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"name": "n", "id": "f", "ui_data": {}}, {"name": "n"}),
        ({"name": "n", **DATA}, {"name": "n", "flow_data": DATA}),
        (
            row(),
            {"name": "Old", "description": None, "flow_inputs": [], "flow_data": DATA, "is_active": True},
        ),
        ({"flow_data": "no json", "is_active": "0"}, {"flow_data": "no json", "is_active": False}),
        (DRAWING, {"flow_data": DRAWING}),
    ],
)
def test_a_document_becomes_the_body_of_a_request(value, body):
    assert body_of(value) == body


def test_half_a_character_on_the_command_line_breaks_nothing():
    assert encoded({"name": "\ud800"}) == b'{"name": "?"}'


# --- answers


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (answer("<html>Log in</html>"), "the platform answered 200, but with no JSON object"),
        (answer("[]"), "the platform answered 200, but with no JSON object"),
        (answer('{"success": false}'), 'the platform answered 200: {"success": false}'),
        (answer('{"success": 1, "message": "yes"}'), "the platform answered 200, but did not succeed: yes"),
        (answer("", 403), "the platform answered 403"),
        (answer("no", 403), "the platform answered 403: no"),
        (answer('{"message": 5}', 400), 'the platform answered 400: {"message": 5}'),
        (
            answer('{"message": "no", "request_id": "req_1"}', 400),
            "the platform answered 400: no (request req_1)",
        ),
        (fine(), "the platform says that it succeeded to read the flow, but sends no flow"),
        (fine({"name": "no id"}), "the platform says that it succeeded to read the flow, but sends no flow"),
    ],
)
def test_an_answer_counts_only_when_it_says_so_and_holds_a_flow(reply, message):
    refusal = play(get(SERVER, "f"), (GET, reply))
    assert isinstance(refusal, Refusal)
    assert refusal.message == message


def test_warnings_of_php_are_passed_over():
    reply = answer('<br />\n<b>Warning</b>: {x}\n{"success": true, "data": {"id": "f"}}')
    assert play(get(SERVER, "f"), (GET, reply)) == {"id": "f"}


def test_a_part_that_is_no_json_stays_a_text():
    done = play(pull(SERVER, "f"), (GET, fine(row(flow_data='{"broken": {{$x}}'))))
    assert json.loads(done.document)["flow_data"] == '{"broken": {{$x}}'


def test_a_refused_call_is_the_answer_of_every_program():
    lost = NoResponse("sent", "http.timeout", "timeout", "no answer")
    for program in (
        get(SERVER, "f"), pull(SERVER, "f"), push(SERVER, Update("f", {})), preview(SERVER, Update("f", {})),
        duplicate(SERVER, "f", {}),
    ):  # fmt: skip
        assert isinstance(play(program, (GET, lost)), Refusal)
    assert isinstance(play(list_flows(SERVER, "p"), (sent("GET", "/?act=flows&id=p"), lost)), Refusal)
    assert isinstance(play(delete(SERVER, "f"), (sent("DELETE", "/?act=flow_delete&id=f"), lost)), Refusal)
    switch = sent("PUT", "/?act=flow_toggle_active&id=f", {})
    assert isinstance(play(toggle(SERVER, "f"), (switch, lost)), Refusal)
    make = sent("POST", "/?act=flow_create&id=p", {"name": "n"})
    assert isinstance(play(create(SERVER, "p", {"name": "n"}), (make, lost)), Refusal)
    copy = sent("POST", "/?act=flow_duplicate&id=f", {})
    assert isinstance(play(duplicate(SERVER, "f", {}), (GET, fine(row())), (copy, lost)), Refusal)


def test_what_was_made_must_be_there():
    make = sent("POST", "/?act=flow_create&id=p", {"name": "n"})
    assert isinstance(
        play(create(SERVER, "p", {"name": "n"}), (make, fine(row(), 201)), (GET, NOT_FOUND)), Refusal
    )


def test_a_list_must_be_one():
    for data in (None, {}, ["x"]):
        refusal = play(list_flows(SERVER, "p"), (sent("GET", "/?act=flows&id=p"), fine(data)))
        assert refusal.message == "the platform says that it succeeded, but sends no list of flows"


def test_a_list_that_never_ends_ends_with_an_empty_page():
    more = {"pagination": {"has_next": True}}
    done = play(
        list_flows(PATHS, "p"),
        (sent("GET", "/project/p/flows"), fine([row()], **more)),
        (sent("GET", "/project/p/flows?page=2"), fine([], **more)),
    )
    assert done.rows == (("f", "active", "Old"),)


def test_another_flow_that_was_deleted_is_told():
    refusal = play(delete(SERVER, "f"), (sent("DELETE", "/?act=flow_delete&id=f"), fine({"id": "g"})))
    assert refusal.message == "the platform says that it succeeded, but not that it deleted this flow"


# --- what else can be done


def test_a_flow_is_deleted_and_switched():
    assert play(delete(SERVER, "f"), (sent("DELETE", "/?act=flow_delete&id=f"), fine({"id": "f"}))) == Done(
        "deleted", "f"
    )
    switch = sent("PUT", "/?act=flow_toggle_active&id=f", {})
    assert play(toggle(SERVER, "f"), (switch, fine(row(is_active=0)))) == Done("updated", "f", "inactive")
    assert play(toggle(SERVER, "f"), (switch, fine(row()))) == Done("updated", "f", "active")


def test_a_new_flow_is_read_back():
    make = sent("POST", "/?act=flow_create&id=p", {"name": "n", "description": "d"})
    done = play(
        create(SERVER, "p", {"name": "n", "description": "d"}),
        (make, fine(row(), 201)),
        (GET, fine(row(name="n"))),
    )
    assert done == Done("created", "f", "n", ("description was not kept",))


def test_what_a_copy_lacks_is_told():
    copy = sent("POST", "/?act=flow_duplicate&id=f", {"name": "n"})
    script = [(GET, fine(row(flow_inputs='[{"name": "x"}]'))), (copy, fine(row(id="g"), 201))]
    there = sent("GET", "/?act=flow_get&id=g")
    done = play(
        duplicate(SERVER, "f", {"name": "n"}), *script, (there, fine(row(id="g", name="n", flow_inputs=None)))
    )
    assert done == Done("created", "g", "a copy of f", ("flow_inputs was not kept",))


def test_a_list_of_a_hundred_may_be_cut_off():
    done = play(
        list_flows(SERVER, "p"),
        (sent("GET", "/?act=flows&id=p"), fine([row()] * 100)),
        (told("there may be more"), Waited()),
    )
    assert len(done.rows) == 100


# --- push


FAILED = answer('{"success": false, "message": "Failed to update flow", "request_id": "req_1"}', 500)
ODD = {**DATA, "steps": [{**DATA["steps"][0], "condition": "false"}]}


def test_steps_that_a_drawing_would_not_keep_are_not_sent_without_a_yes():
    script = [(GET, fine(row())), (told("condition"), Waited()), (put({"flow_data": ODD}), FAILED)]
    refusal = play(push(SERVER, Update("f", {"flow_data": ODD})), *script)
    assert refusal.fields == (("", "flow_data.steps[0].condition was not kept"),)
    assert refusal.remedy == "--yes sends it all the same; nothing was changed"


def test_with_a_yes_the_loss_is_told_before_the_drawing_is_sent():
    drawing = put({"flow_data": drawn(ODD)}, "flow_detail_ui")
    done = play(
        push(SERVER, Update("f", {"flow_data": ODD}, accept_loss=True)),
        (GET, fine(row())), (told("condition"), Waited()), (put({"flow_data": ODD}), FAILED),
        (told("this server stores steps only as a drawing; it will not keep:"), Waited()),
        (told("  flow_data.steps[0].condition was not kept"), Waited()),
        (drawing, fine(row())), (GET, fine(row())),
    )  # fmt: skip
    assert done == Done("updated", "f", "flow_data", ("flow_data.steps[0].condition was not kept",))


def test_nothing_is_sent_when_nothing_differs_unless_it_is_named():
    same = {"name": "Old"}
    assert play(push(SERVER, Update("f", same)), (GET, fine(row()))) == Done(
        "unchanged", "f", "it is so already"
    )
    always = push(SERVER, Update("f", same, always=True))
    assert play(always, (GET, fine(row())), (put(same), fine(row())), (GET, fine(row()))) == Done(
        "updated", "f", "name"
    )


def test_a_drawing_goes_where_the_server_was_seen_to_take_it_and_else_where_the_documents_say():
    update = Update("f", {"flow_data": DRAWING}, ui=True)
    done = play(
        push(SERVER, update), (GET_UI, fine(row(flow_data={"nodes": [], "edges": []}))), (told("nothing -> "), Waited()),
        (put({"flow_data": DRAWING}, "flow_detail_ui"), NOT_FOUND), (put({"flow_data": DRAWING}, "flow_update_ui"), fine(row())),
        (GET, fine(row())), (GET_UI, fine(row(flow_data=DRAWING))),
    )  # fmt: skip
    assert done == Done("updated", "f", "flow_data")


def test_an_update_that_failed_is_told():
    refusal = play(
        push(SERVER, Update("f", {"name": "New"})), (GET, fine(row())), (told('"Old" -> "New"'), Waited()),
        (put({"name": "New"}), answer('{"message": "no"}', 400)),
    )  # fmt: skip
    assert refusal.message == "the platform answered 400: no"


def test_what_cannot_be_read_back_is_told():
    refusal = play(
        push(SERVER, Update("f", {"name": "New"})), (GET, fine(row())), (told("New"), Waited()),
        (put({"name": "New"}), fine(row(name="New"))), (GET, NOT_FOUND),
    )  # fmt: skip
    assert refusal.status == 404


def test_a_drawing_that_cannot_be_read_back_is_told():
    update = Update("f", {"flow_data": DRAWING}, ui=True)
    refusal = play(
        push(SERVER, update), (GET_UI, fine(row(flow_data={"nodes": [], "edges": []}))), (told("nothing -> "), Waited()),
        (put({"flow_data": DRAWING}, "flow_detail_ui"), fine(row())), (GET, fine(row())), (GET_UI, NOT_FOUND),
    )  # fmt: skip
    assert refusal.status == 404


def test_a_drawing_that_is_refused_is_told():
    update = Update("f", {"flow_data": DRAWING}, ui=True)
    refusal = play(
        push(PATHS, update),
        (sent("GET", "/flow/f/ui"), fine(row(flow_data={"nodes": [], "edges": []}))), (told("nothing -> "), Waited()),
        (sent("PUT", "/flow/f/ui", {"flow_data": DRAWING}), NOT_FOUND),
    )  # fmt: skip
    assert refusal.status == 404


def test_steps_that_are_refused_as_a_drawing_too_are_told():
    update = Update("f", {"flow_data": DATA})
    failed = answer('{"success": false, "message": "Failed to update flow"}', 500)
    refusal = play(
        push(SERVER, update), (GET, fine(row(flow_data="{}"))), (told("version"), Waited()), (told("steps"), Waited()),
        (put({"flow_data": DATA}), failed), (told("only as a drawing; it keeps all of these"), Waited()),
        (put({"flow_data": drawn(DATA)}, "flow_detail_ui"), failed),
    )  # fmt: skip
    assert refusal.message == "the platform answered 500: Failed to update flow"


def test_many_changes_and_losses_are_cut_short():
    fields = {f"k{number}": number for number in range(30)}
    old = {"flow_data": dict.fromkeys(fields, -1)}
    update = Update("f", {"flow_data": fields})
    script = [
        (GET, fine(row(**old))),
        *((lambda _: True, Waited()) for _ in range(20)),
        (told("… and 10 more"), Waited()),
    ]
    done = play(
        push(SERVER, update), *script, (put({"flow_data": fields}), fine(row())), (GET, fine(row(**old)))
    )
    assert (len(done.losses), done.losses[-1]) == (21, "… and 10 more")


def test_a_long_value_is_cut_when_it_is_shown():
    [line] = losses({"name": "x" * 99}, {"name": "y"})
    assert line == f'name was "{"x" * 58}… and is "y"'


def test_a_preview_is_the_call_that_would_be_made():
    update = Update("f", {"name": "New", "flow_data": DRAWING}, ui=True)
    request = play(preview(SERVER, update), (GET_UI, fine(row(flow_data=DRAWING))), (told("New"), Waited()))
    assert request == Request(
        "PUT", "https://h.example/backend/?act=flow_detail_ui&id=f",
        (("Authorization", "Bearer secret"), ("Accept", "application/json"), ("Content-Type", "application/json")),
        encoded({"name": "New", "flow_data": DRAWING}),
    )  # fmt: skip
    same = Update("f", {"name": "Old"})
    assert play(preview(SERVER, same), (GET, fine(row()))) == Done("unchanged", "f", "it is so already")


# --- what differs

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_what_php_makes_of_a_value_means_the_same(value):
    assert (
        list(unlike(value, php(value), "x", empty=EMPTY)) == []
        or "0" in json.dumps(value)
        or abs(max_number(value)) >= 2**63
    )


def max_number(value):
    """Return the number in a value that is farthest from zero."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = value if isinstance(value, int | float) else 0
    return max([own, *map(max_number, parts)], key=abs)


@given(JSON, JSON)
def test_two_values_are_unlike_either_way_round(one, other):
    there = {(at, str(left), str(right)) for at, left, right in unlike(one, other, "x", empty=EMPTY)}
    back = {(at, str(right), str(left)) for at, left, right in unlike(other, one, "x", empty=EMPTY)}
    assert there == back


@pytest.mark.parametrize(
    ("one", "other", "places"),
    [
        ({}, [], []), ({}, None, []), ({"a": None}, {}, []), ([1], [1, 2], ["x[1]"]), ({"a": 1}, {"b": 1}, ["x.a", "x.b"]),
        (True, 1, ["x"]), (1.0, 1, []), ({"a": [{"b": "c"}]}, {"a": [{"b": "d"}]}, ["x.a[0].b"]), ("", None, ["x"]),
    ],
)  # fmt: skip
def test_what_counts_as_unlike(one, other, places):
    assert [at for at, _, _ in unlike(one, other, "x", empty=EMPTY)] == places
