"""PingOne DaVinci without a server: answers that no honest server gives, and rules that need none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.commands import NoResponse, SendRequest, Waited
from runner.platforms.client import Done, Refusal, Tell
from runner.platforms.davinci_api import (
    Environment,
    api,
    delete,
    encoded,
    export_current,
    flow_row,
    get,
    list_all,
    moment,
    pull,
    unmapped,
    validate,
    validation,
    version_row,
)
from runner.platforms.davinci_document import findings_of_variables, flows_in, sendable, variables_in
from runner.platforms.davinci_rules import PROPERTIES, flow_findings, kind_of, variable_findings
from runner.platforms.davinci_rules import VARIABLE as VARIABLE_SHAPE
from runner.platforms.davinci_save import Save, Step, clone, do, preview, preview_steps, push
from runner.platforms.davinci_variables import push as push_variables
from tests.play import answer, play

THERE = Environment(api("https://h.example", (("Authorization", "Bearer secret"),)), "env")
BELOW = Environment(api("https://h.example:443/ping/", (("Authorization", "Bearer secret"),)), "env")
FLOWS = "https://h.example/v1/environments/env/flows"
LOST = NoResponse("sent", "http.timeout", "timeout", "no answer")
NO = Refusal("GET https://h.example/v1/environments/env/flows/f: no answer")


def sent(method, path="/f", body=None, url=FLOWS):
    def is_it(command):
        assert isinstance(command, SendRequest)
        assert (command.request.method, command.request.url) == (method, url + path)
        if body is not None:
            assert json.loads(command.request.body) == body
        return True

    return is_it


def told(text):
    return lambda command: isinstance(command, Tell) and text in command.text


def fine(value, status=200):
    return answer(json.dumps(value), status)


def flow(version=1, **more):
    return {"id": "f", "name": "Old", "currentVersion": version, **more}


GET = sent("GET")
KEYS = st.sampled_from([
    *PROPERTIES, *VARIABLE_SHAPE, "_embedded", "variables", "flows", "flowInfo", "flow", "version", "environment", "id",
    "flowId", "flowColor", "flowStatus", "connectorIds", "companyId", "fields", "value", "elements", "nodes", "edges",
    "data", "pan", "properties", "output", "type", "x",
])  # fmt: skip


# --- places and bodies


def test_every_part_of_a_path_is_quoted():
    assert THERE.flow("a/b c", "versions", 3) == "/v1/environments/env/flows/a%2Fb%20c/versions/3"
    assert THERE.path("variables", None) == "/v1/environments/env/variables/None"


def test_half_a_character_on_the_command_line_breaks_nothing():
    assert encoded({"name": "\ud800"}) == b'{"name": "?"}'


def test_what_only_the_server_says_and_what_is_null_is_no_part_of_a_body():
    document = {
        "_links": {},
        "id": "f",
        "environment": {},
        "createdAt": "",
        "name": "n",
        "color": None,
        "x": 0,
    }
    assert sendable(document).body == {"name": "n", "x": 0}


def test_a_version_that_was_fetched_is_sent_as_its_flow():
    version = {"flow": {"id": "f", "name": "n"}, "version": 3, "alias": "a", "graphData": {}, "steps": []}
    read = sendable(version)
    assert (read.id, read.body, read.made_from) == (
        "f",
        {"name": "n", "currentVersion": 3, "graphData": {}},
        {"currentVersion": 3},
    )
    assert sendable({"flow": {"id": "f"}, "name": "n"}).body == {"flow": {"id": "f"}, "name": "n"}


@pytest.mark.parametrize("home", [None, [], "x", {"id": 5}])
def test_an_environment_of_another_shape_is_none(home):
    assert sendable({"name": "n", "environment": home}).home == ""


def test_what_is_no_flow_is_not_sendable():
    assert sendable({"steps": []}) is None


def test_the_flows_of_a_document_have_their_places():
    assert flows_in({"flowInfo": {"flowId": "f"}}) == {"flowInfo": {"flowId": "f"}}
    assert flows_in({"flows": [{"flowId": "f"}, 5]}) == {"flows[0]": {"flowId": "f"}}
    assert flows_in({"name": "n"}) == {"": {"name": "n"}}


def test_variables_of_exports_are_found_as_the_api_takes_them():
    fields = {"type": "number", "mutable": True, "min": 0}
    exported = {"name": "x##SK##company", "fields": fields, "value": 1}
    made = {"name": "x", "context": "company", "dataType": "number", "mutable": True, "min": 0, "value": 1}
    assert dict(variables_in({"flows": [{"variables": [exported]}, {}]})) == {"flows[0].variables[0]": made}
    assert dict(variables_in({"variables": [{"name": "x"}, {"name": 5}, 7]})) == {
        "variables[0]": {"name": "x"},
        "variables[1]": {"name": 5},
        "variables[2]": 7,
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


def played(program, there):
    """Carry a program out where every look finds the same flow, and every save is made."""
    command = next(program)
    try:
        while True:
            if isinstance(command, SendRequest):
                saved = command.request.method == "PUT"
                command = program.send(fine(there | {"currentVersion": 2} if saved else there))
            else:
                command = program.send(Waited())
    except StopIteration as stop:
        return stop.value


@given(st.dictionaries(KEYS, JSON, max_size=8), st.dictionaries(KEYS, JSON, max_size=8))
def test_no_document_and_no_answer_breaks_a_push(document, there):
    for one in flows_in(document).values():
        read = sendable(one)
        if read is not None:
            assert all(place and what for place, what in read.findings(is_whole=True))
            assert isinstance(played(push(THERE, Save(read.body, "f")), {**there, **flow()}), Done | Refusal)
    assert all(what for _, what in findings_of_variables(dict(variables_in(document))))


# --- answers


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        (
            answer("<html>Log in</html>"),
            Refusal("the platform answered 200, but with no JSON object", 200, details="Log in", remedy="is that the url of the API?"),
        ),
        (answer("[]"), Refusal("the platform answered 200, but with no JSON object", 200, details="[]", remedy="is that the url of the API?")),
        (answer(""), Refusal("the platform says that it succeeded, but sends no flow", remedy="is that the url of the API?")),
        (fine({"id": 5}), Refusal("the platform says that it succeeded, but sends no flow", remedy="is that the url of the API?")),
        (answer("", 418), Refusal("the platform answered 418", 418)),
        (answer("no", 400), Refusal("the platform answered 400: no", 400)),
        (fine({"message": 5}, 400), Refusal('the platform answered 400: {"message": 5}', 400)),
        (fine({"message": "no"}, 400), Refusal("the platform answered 400: no", 400)),
        (fine({"message": "no", "details": [5, {}]}, 400), Refusal("the platform answered 400: no", 400, fields=(("", ""),))),
        (fine({"message": "no", "details": {"a": 1}}, 400), Refusal("the platform answered 400: no", 400)),
        (
            fine({"message": "no", "code": "INVALID_DATA", "id": "1-2", "details": [{"target": "name", "message": "is odd", "innerError": {"allowedValues": ["a"]}}]}, 400),
            Refusal("the platform answered 400: no (INVALID_DATA, error 1-2)", 400, "INVALID_DATA", (("name", 'is odd (allowedValues ["a"])'),)),
        ),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_flow_is_told(reply, refusal):
    assert play(get(THERE, "f"), (GET, reply)) == refusal


@pytest.mark.parametrize(
    ("status", "code", "inner"),
    [
        (400, "INVALID_DATA", "UNIQUENESS_VIOLATION"),
        (401, "ACCESS_FAILED", "INVALID_TOKEN"),
        (403, "ACCESS_FAILED", "INSUFFICIENT_PERMISSIONS"),
        (404, "NOT_FOUND", "NOT_FOUND"),
        (415, "INVALID_REQUEST", "INVALID_MEDIA_TYPE"),
        (500, "UNEXPECTED_ERROR", "UNEXPECTED_ERROR"),
    ],
)
def test_every_error_of_the_api_is_told_with_code_message_and_target(status, code, inner):
    detail = {"code": inner, "message": "this is why", "target": "flow.name"}
    error = {"id": "0-1", "code": code, "message": "That did not work.", "details": [detail]}
    refusal = play(clone(THERE, "f"), (GET, fine(flow())), (sent("POST"), fine(error, status)))
    first, second, *_ = refusal.lines()
    assert first == f"the platform answered {status}: That did not work. ({code}, error 0-1)"
    assert second == f"  flow.name: this is why ({inner})"
    assert (refusal.status, refusal.code) == (status, code)


@pytest.mark.parametrize("status", [502, 503])
def test_a_gateway_that_fails_is_asked_again(status):
    script = (
        (GET, answer("<h1>Bad gateway</h1>", status)),
        (told(f"it answered {status}; trying again"), Waited()),
    )
    assert play(get(THERE, "f"), *script, (lambda _: True, Waited()), (GET, fine(flow()))) == flow()


@pytest.mark.parametrize(
    ("inner", "seconds"),
    [
        ({"retryAfter": "1970-01-01T00:00:07.2Z"}, 8),
        ({"quotaResetTime": "1970-01-01T00:00:30Z"}, 30),
        ({"retryAfter": "1969-01-01T00:00:00Z"}, 0),
    ],
)
def test_a_time_in_an_answer_is_waited_for(inner, seconds):
    limited = fine({"message": "slowly", "details": [{}, {"innerError": inner}]}, 429)
    done = play(
        get(THERE, "f"),
        (GET, limited),
        (told(f"it answered 429; trying again in {seconds}.0 s"), Waited()),
        (lambda command: command.seconds == seconds, Waited()),
        (GET, fine(flow())),
    )
    assert done == flow()


@pytest.mark.parametrize(
    "reply",
    [
        answer("", 429),
        fine({"details": [{"innerError": {"retryAfter": "soon"}}, {"innerError": "x"}]}, 429),
        fine({"details": [{"innerError": {"retryAfter": 5}}]}, 429),
    ],
)
def test_without_a_time_an_answer_is_waited_for_as_usual(reply):
    script = (GET, reply), (told("it answered 429; trying again in 0."), Waited()), (lambda _: True, Waited())
    assert play(get(THERE, "f"), *script, (GET, fine(flow()))) == flow()


def test_a_header_with_a_time_wins():
    limited = answer(
        json.dumps({"details": [{"innerError": {"retryAfter": "2999-01-01T00:00:00Z"}}]}),
        429,
        Retry_After="0",
    )
    script = (GET, limited), (told("trying again in 0.0 s"), Waited()), (lambda _: True, Waited())
    assert play(get(THERE, "f"), *script, (GET, fine(flow()))) == flow()


def test_a_time_is_one_only_as_a_text():
    assert moment("1970-01-01T00:00:01Z") == 10**9
    assert (moment(None), moment(5), moment("x")) == (None, None, None)


def test_a_refused_call_is_the_answer_of_every_program():
    for program in (
        get(THERE, "f"), pull(THERE, "f"), export_current(THERE, "f"), validation(THERE, "f", None),
        validate(THERE, "f", None), clone(THERE, "f"), do(THERE, "f", [Step("deploy")]),
        preview_steps(THERE, "f", [Step("deploy")]), push(THERE, Save({}, "f")), preview(THERE, Save({}, "f")),
    ):  # fmt: skip
        assert play(program, (GET, LOST)) == NO
    assert isinstance(play(delete(THERE, THERE.flow("f"), "f"), (sent("DELETE"), LOST)), Refusal)
    listing = list_all(THERE, THERE.flow(), "flows", flow_row)
    assert isinstance(play(listing, (sent("GET", ""), LOST)), Refusal)
    every = sent("GET", "", url="https://h.example/v1/environments/env/variables")
    assert isinstance(play(push_variables(THERE, []), (every, LOST)), Refusal)
    assert isinstance(play(push(THERE, Save({"name": "n"})), (sent("POST", ""), LOST)), Refusal)
    assert isinstance(play(validate(THERE, "f", {}), (sent("POST"), LOST)), Refusal)
    assert isinstance(play(clone(THERE, "f"), (GET, fine(flow())), (sent("POST", body={}), LOST)), Refusal)


# --- lists


def page(*ids, link=None, key="flows"):
    links = {} if link is None else {"_links": {"next": {"href": link}}}
    return fine({"_embedded": {key: [{"id": one, "name": one} for one in ids]}, **links})


def listed(there, *script):
    return play(list_all(there, there.flow(), "flows", flow_row), *script)


def test_a_list_goes_on_where_its_link_leads_on_the_same_server():
    done = listed(
        THERE,
        (sent("GET", ""), page("a", link="https://H.example:443/v1/environments/env/flows?cursor=2")),
        (sent("GET", "?cursor=2"), page("b", link="/v1/environments/env/flows?cursor=3")),
        (sent("GET", "?cursor=3"), page("c")),
    )
    assert [one["id"] for one in json.loads(done.document)["_embedded"]["flows"]] == ["a", "b", "c"]


def test_a_list_below_a_path_stays_below_it():
    base = "https://h.example:443/ping/v1/environments/env/flows"
    done = listed(
        BELOW,
        (
            sent("GET", "", url=base),
            page("a", link="https://h.example/ping/v1/environments/env/flows?cursor=2"),
        ),
        (sent("GET", "?cursor=2", url=base), page("b")),
    )
    assert len(done.rows) == 2
    left = listed(BELOW, (sent("GET", "", url=base), page("a", link="https://h.example/v1/x?token=abc")))
    assert (
        left.message
        == "the list goes on at https://h.example/v1/x?token=REDACTED, and no other server gets the token"
    )


@pytest.mark.parametrize(
    "link",
    ["https://evil.example/v1/x", "http://h.example/v1/x", "https://h.example:444/v1/x", "//evil.example/v1"],
)
def test_a_link_to_another_server_is_not_followed(link):
    refusal = listed(THERE, (sent("GET", ""), page("a", link=link)))
    assert refusal == Refusal(f"the list goes on at {link}, and no other server gets the token")


def test_a_list_that_goes_round_in_circles_ends():
    refusal = listed(THERE, (sent("GET", ""), page("a", link=FLOWS)))
    assert refusal == Refusal("the list leads back to a page that it had before")


@pytest.mark.parametrize(
    "value", [{}, {"_embedded": []}, {"_embedded": {"flows": {}}}, {"_embedded": {"flows": [5]}}]
)
def test_what_is_no_list_is_told(value):
    refusal = listed(THERE, (sent("GET", ""), fine(value)))
    assert refusal == Refusal("the platform says that it succeeded, but sends no list of flows")


@pytest.mark.parametrize("links", [{"next": {"href": 5}}, {"next": 5}, [], {}])
def test_a_link_that_is_none_ends_a_list(links):
    done = listed(THERE, (sent("GET", ""), fine({"_embedded": {"flows": []}, "_links": links})))
    assert done.rows == ()


def test_rows_tell_what_there_is():
    assert flow_row({"id": "f", "name": "n", "enabled": True}) == ("f", "enabled", "version ?", "n")
    assert version_row({"version": 2, "updatedAt": "u"}) == ("2", "u", "", "")


# --- saving


def test_a_flow_that_was_saved_but_cannot_be_read_back_is_told():
    done = play(
        push(THERE, Save({"name": "New"}, "f")),
        (GET, fine(flow())),
        (told('name: "Old" -> "New"'), Waited()),
        (told("version 1 is overwritten"), Waited()),
        (sent("PUT", body={"name": "New"}), fine(flow(2))),
        (GET, LOST),
    )
    assert done.message == f"the flow was saved, but not read back: {NO.message}"


@pytest.mark.parametrize(
    ("after", "details"),
    [
        (LOST, "it is not known whether that was saved"),
        (fine(flow(2, name="Theirs")), "version 2 is there now, but not as it was sent"),
        (fine(flow(1)), "nothing was saved: version 1 is still there"),
    ],
)
def test_what_came_of_a_save_whose_answer_was_lost_is_told(after, details):
    done = play(
        push(THERE, Save({"name": "New"}, "f")),
        (GET, fine(flow())),
        (lambda _: True, Waited()),
        (lambda _: True, Waited()),
        (sent("PUT"), LOST),
        (GET, after),
    )
    assert done.details == details


def test_a_save_that_is_refused_is_not_looked_after():
    done = play(
        push(THERE, Save({"name": "New"}, "f")),
        (GET, fine(flow())),
        (lambda _: True, Waited()),
        (lambda _: True, Waited()),
        (sent("PUT"), fine({"message": "no"}, 400)),
    )
    assert done.message == "the platform answered 400: no"


def test_versions_that_are_no_numbers_are_not_counted():
    done = play(
        push(THERE, Save({"name": "New"}, "f")),
        (GET, fine(flow(None))),
        (lambda _: True, Waited()),
        (lambda _: True, Waited()),
        (sent("PUT"), fine(flow(None))),
        (GET, fine(flow(None, name="New"))),
    )
    assert done == Done("updated", "f", "version nothing -> nothing")


@pytest.mark.parametrize(
    "graph", [5, {"elements": 5}, {"elements": {"nodes": 5}}, {"elements": {"nodes": [5, {"data": 5}]}}]
)
def test_a_graph_of_another_shape_is_compared_all_the_same(graph):
    save = Save({"name": "Old", "graphData": graph}, "f")
    assert play(push(THERE, save), (GET, fine(flow(graphData=graph)))).verb == "unchanged"


def test_the_connections_of_an_environment_must_be_known_to_compare_with_them():
    listing = sent("GET", "", url="https://h.example/v1/environments/env/connectorInstances")
    save = Save({"name": "n", "graphData": {}}, is_foreign=True)
    assert isinstance(play(push(THERE, save), (listing, LOST)), Refusal)
    existing = Save({"graphData": {}}, "f", is_foreign=True)
    assert isinstance(
        play(
            push(THERE, existing),
            (GET, fine(flow())),
            (told("sent as it is there"), Waited()),
            (listing, LOST),
        ),
        Refusal,
    )
    for graph in (
        5,
        {"elements": 5},
        {"elements": {"nodes": 5}},
        {"elements": {"nodes": [5, {"data": 5}, {}]}},
    ):
        assert play(unmapped(THERE, graph), (listing, page("c", key="connectorInstances"))) == ()
    made = (sent("POST", ""), fine(flow(), 201)), (GET, fine(flow()))
    assert play(push(THERE, Save({"name": "Old"}, is_foreign=True)), *made).verb == "created"


def test_a_new_flow_that_cannot_be_read_back_is_told():
    assert play(push(THERE, Save({"name": "n"})), (sent("POST", ""), fine(flow(), 201)), (GET, LOST)) == NO


@pytest.mark.parametrize(
    ("step", "call", "reply", "what"),
    [
        (Step("deploy"), sent("POST"), flow(), "deployed version nothing"),
        (Step("deploy"), sent("POST"), flow(2, publishedVersion=1), "deployed version 1"),
        (Step("enabled", True), sent("PUT", "/f/enabled"), {"enabled": False}, "enabled"),
        (Step("enabled", False), sent("PUT", "/f/enabled"), {}, "disabled"),
        (Step("alias", "a"), sent("PUT", "/f/versions/1/alias"), {"alias": "b"}, "called a"),
    ],
)
def test_a_step_counts_only_when_the_answer_says_so(step, call, reply, what):
    done = play(do(THERE, "f", [step]), (GET, fine(flow())), (call, fine(reply)))
    message = f"the platform says that it succeeded, but not that the flow is {what}"
    assert done == Refusal(message, details=json.dumps(reply))


def test_a_version_that_is_back_must_be_readable():
    script = (GET, fine(flow())), (sent("POST", "/f/versions/3", body={}), fine({}, 201)), (GET, LOST)
    assert play(do(THERE, "f", [Step("revert", 3)]), *script) == NO
    refused = (GET, fine(flow())), (sent("POST", "/f/versions/3"), fine({"message": "no"}, 400))
    assert play(do(THERE, "f", [Step("revert", 3)]), *refused).message == "the platform answered 400: no"


def test_a_file_that_learns_nothing_of_a_save_needs_no_second_look():
    save = Save({"name": "Old"}, "f", steps=[Step("deploy")])
    looks = (GET, fine(flow())), (sent("POST", body={}), fine(flow(publishedVersion=1)))
    assert play(push(THERE, save), *looks).detail == "it is so already, deployed version 1"


@pytest.mark.parametrize("after", [LOST, fine(flow(2)), fine({"id": "f"})])
def test_a_file_learns_nothing_of_a_flow_that_is_not_the_one_it_was(after):
    save = Save({"name": "Old"}, "f", steps=[Step("deploy")], kept=("currentVersion",))
    looks = (GET, fine(flow())), (sent("POST", body={}), fine(flow(publishedVersion=1))), (GET, after)
    assert play(push(THERE, save), *looks).verb == "updated"


# --- what else is done to a flow


def test_an_answer_without_findings_finds_nothing():
    for value in (
        flow(),
        flow(graphData=5),
        flow(graphData={"allLinterErrors": 5}),
        flow(graphData={"allLinterErrors": [5]}),
    ):
        done = play(validate(THERE, "f", {}), (sent("POST", body={"graphData": {}}), fine(value)))
        assert done == Done("valid", "f", "no errors, 0 warnings")


def test_errors_that_are_only_counted_are_told_too():
    done = play(validate(THERE, "f", {}), (sent("POST"), fine(flow(dvlinterErrorCount=2))))
    assert done == Refusal("the platform finds 2 errors in the flow")


def test_a_copy_that_cannot_be_read_is_told():
    script = (GET, fine(flow())), (sent("POST"), fine(flow() | {"id": "g"}, 201)), (sent("GET", "/g"), LOST)
    assert isinstance(play(clone(THERE, "f"), *script), Refusal)


# --- variables

VARIABLE = {"name": "x", "context": "company", "dataType": "number", "mutable": True, "value": 1}


def test_what_the_platform_did_not_keep_of_a_variable_is_told():
    url = "https://h.example/v1/environments/env/variables"
    script = (
        (sent("GET", "", url=url), fine({"_embedded": {"variables": [{**VARIABLE, "id": "v", "value": 0}]}})),
        (told("x: replaced: value: 0 -> 1"), Waited()),
        (sent("PUT", "/v", VARIABLE, url=url), fine({**VARIABLE, "value": 5})),
    )
    done = play(push_variables(THERE, [VARIABLE]), *script)
    assert done == Done("updated", "variables", "x replaced", ("x: value: 5 -> 1",))


# --- rules


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"name": "n"}, []),
        ({"name": None}, []),
        ({"name": " "}, [("name", "must not be empty")]),
        ({"name": "a${b}"}, [("name", "must not have < or ${ in it")]),
        ({"name": "x" * 257}, [("name", "has 257 characters; the platform takes 256")]),
        ({"description": "x" * 1025}, [("description", "has 1025 characters; the platform takes 1024")]),
        ({"trigger": {"type": None}}, [("trigger.type", "must be a text, not null")]),
        ({"trigger": {"type": "X"}}, [("trigger.type", "must be one of AUTHENTICATION, SCHEDULE, not 'X'")]),
        ({"inputSchema": [{"preferredDataType": "date"}]}, [("inputSchema[0].preferredDataType", "must be one of array, boolean, number, object, string, not 'date'")]),
        ({"graphData": {"pan": {"x": 1, "y": 1.5}, "zoom": True}}, [("graphData.zoom", "must be a number, not true or false")]),
        ({"graphData": {"elements": {"nodes": [None]}}}, [("graphData.elements.nodes[0]", "must be an object, not null")]),
        ({"currentVersion": 4.0}, []),
        ({"settings": {"name": 5}, "of tomorrow": 5}, []),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_flow_is_found(body, found):
    assert [*flow_findings(body, is_whole=False)] == found


def test_a_whole_flow_needs_a_name():
    assert [*flow_findings({}, is_whole=True)] == [
        ("name", "is missing; the platform takes no flow without one")
    ]


def test_a_variable_may_belong_to_a_flow():
    assert [*variable_findings({**VARIABLE, "flow": {"id": 5}}, "v")] == [
        ("v.flow.id", "must be a text, not a whole number")
    ]
    assert [*variable_findings(VARIABLE, "")] == []


def test_every_kind_of_json_value_has_a_name():
    values = (None, True, 1, 1.0, 1.5, "x", [], {})
    assert [kind_of(one) for one in values] == [
        "null", "true or false", "whole number", "whole number", "number", "text", "list", "object",
    ]  # fmt: skip
