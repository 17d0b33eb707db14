"""Workflows on Nected, without a server: answers that no honest server gives, and those that get lost."""

import json

import pytest

from runner.core.commands import NoResponse, SendRequest, Waited
from runner.platforms.client import Done, Keep, Refusal, Tell
from runner.platforms.nected_api import (
    After,
    Update,
    act,
    api,
    create,
    encoded,
    get,
    list_workflows,
    new_body,
    place,
    preview,
    preview_act,
    pull,
    push,
    samples,
)
from tests.platforms.nected_samples import field, workflow
from tests.play import answer, play

API = api("https://h.example", "secret-key")
DOCUMENT = {**workflow(), "id": "w", "checksum": "old"}
CHANGED = {**DOCUMENT, "comment": "new"}
LOST = NoResponse("sent", "http.reset", "ReadError", "the connection ended")


def sent(method, target, body=None):
    def is_it(command):
        assert isinstance(command, SendRequest)
        assert (command.request.method, command.request.url) == (method, f"https://h.example{target}")
        assert command.request.body == (None if body is None else encoded(body))
        assert ("Nected-API-Key", "secret-key") in command.request.headers
        return True

    return is_it


def told(text):
    return lambda command: isinstance(command, Tell) and text in command.text


def fine(data=None, status=200, **more):
    return answer(json.dumps({"code": "success", "message": "ok", "data": data, **more}), status)


def wrong(message="checksum mismatch", status=400):
    return answer(json.dumps({"code": "BAD_REQUEST", "message": message, "data": None}), status)


W = "/dev/v1/workflow/w"
GET = sent("GET", W)
PATCH = sent("PATCH", W, CHANGED)
LIST = sent("GET", "/dev/v1/workflow")
TELL = told('comment: nothing -> "new"')
KEEP = Keep({"checksum": "next"})


def there(checksum="old", **more):
    return fine({**DOCUMENT, "checksum": checksum, "testedAt": None, **more})


# --- the form of a call


def test_ids_are_quoted_and_a_branch_is_a_header():
    assert place("a/b c", "test") == "/dev/v1/workflow/a%2Fb%20c/test"
    headers = api("https://h", "k", "feature/x").request("GET", "/").headers
    assert ("Nected-Branch", "feature/x") in headers
    assert not any(name == "Nected-Branch" for name, _ in API.request("GET", "/").headers)


def test_a_new_workflow_has_nothing_that_only_the_server_says():
    names = ("id", "checksum", "version", "status", "staticUrl", "versionInfo", "createdAt", "updatedAt", "publishedAt", "testedAt", "isLive")  # fmt: skip
    body = new_body({**workflow(), **dict.fromkeys(names, "x"), "more": 1})
    assert body == {**workflow(), "more": 1}


# --- reading


def test_a_version_is_asked_for():
    assert play(get(API, "w", "v1"), (sent("GET", f"{W}?version=v1"), there()))["id"] == "w"


def test_a_pulled_workflow_is_the_document_of_the_platform():
    done = play(pull(API, "w"), (GET, there()))
    assert (done.detail, json.loads(done.document)) == ("A workflow", {**DOCUMENT, "testedAt": None})


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (fine({"id": "w"}), "the platform says that it succeeded, but sends no workflow"),
        (fine([]), "the platform answered 200, but with no object 'data'"),
        (answer("<html>Hello</html>"), "the platform answered 200, but with no object 'data'"),
        (answer("", 404), "the platform answered 404"),
        (answer("<h1>Gone</h1>", 404), "the platform answered 404: Gone"),
        (wrong("no workflow 'w'"), "the platform answered 400: no workflow 'w' (BAD_REQUEST)"),
        (answer('{"message": "no"}', 403), "the platform answered 403: no"),
    ],
)
def test_what_is_no_workflow_is_told(reply, message):
    assert play(pull(API, "w"), (GET, reply)).message == message


def test_a_key_that_is_refused_has_a_remedy():
    refusal = play(pull(API, "w"), (GET, wrong("Missing or invalid API key", 401)))
    assert refusal.remedy == "give a key with NECTED_API_KEY, --token-file or --profile"


def row(name):
    return {"id": name, "name": name.upper(), "status": "draft", "isEnabled": name != "c"}


ROWS = (("a", "active", "draft", "A"), ("b", "active", "draft", "B"), ("c", "inactive", "draft", "C"))


@pytest.mark.parametrize(
    ("first", "asked", "second"),
    [
        (fine([row("a"), row("b")], paginationInfo={"totalCount": 3, "pageNo": 1}), "?pageNo=2", fine([row("c")], paginationInfo={"totalCount": 3})),
        (fine([row("a"), row("b")], totalCount=3, pageNo=1), "?pageNo=2", fine([row("c")], totalCount=3)),
        (fine({"entities": [row("a"), row("b")], "Pagination": {"totalRecord": 3, "currentPage": 1}}), "?page=2", fine({"entities": [row("c")], "Pagination": {"totalRecord": 3}})),
    ],
)  # fmt: skip
def test_a_list_is_read_page_by_page_in_each_of_its_forms(first, asked, second):
    done = play(list_workflows(API), (LIST, first), (sent("GET", f"/dev/v1/workflow{asked}"), second))
    assert done.rows == ROWS
    assert [one["id"] for one in json.loads(done.document)] == ["a", "b", "c"]


def test_rows_may_be_named_by_their_entity():
    done = play(list_workflows(API), (LIST, fine([{"entityId": "a", "name": "A", "status": "draft"}])))
    assert done.rows == (("a", "active", "draft", "A"),)


def test_a_list_that_does_not_go_on_is_told():
    first = fine([row("a")], paginationInfo={"totalCount": 3})
    again = sent("GET", "/dev/v1/workflow?page=2")
    done = play(
        list_workflows(API),
        (LIST, first),
        (again, first),
        (told("1 of 3: the platform gives no more"), Waited()),
    )
    assert len(done.rows) == 1


@pytest.mark.parametrize("reply", [fine({}), fine([1]), fine([{"name": "x"}]), answer("x"), answer("[]")])
def test_what_is_no_list_is_told(reply):
    assert (
        play(list_workflows(API), (LIST, reply)).message
        == "the platform answered 200, but with no list of workflows"
    )


def test_a_list_that_is_refused_is_told():
    assert play(list_workflows(API), (LIST, wrong("no"))).status == 400


# --- making one


POST = sent("POST", "/dev/v1/workflow", new_body(DOCUMENT))
MADE = fine({"id": "w", "checksum": "next"})


def test_a_new_workflow_is_kept_and_compared():
    kept = Keep({"id": "w", "checksum": "next"})
    done = play(create(API, DOCUMENT, After()), (POST, MADE), (kept, Waited()), (GET, there("next")))
    assert done == Done("created", "w", "A workflow")


def test_what_the_platform_did_not_keep_is_told_and_what_it_added_is_not():
    kept = Keep({"id": "w", "checksum": "next"})
    after = there("next", description="other", more=1, nodes=DOCUMENT["nodes"])
    done = play(create(API, DOCUMENT, After()), (POST, MADE), (kept, Waited()), (GET, after))
    assert done.losses == ('description: "" -> "other"',)


@pytest.mark.parametrize(
    ("reply", "remedy"),
    [(wrong("name is taken"), ""), (wrong("oops", 500), "it may be there all the same: list them"), (LOST, "it may be there all the same: list them")],
)  # fmt: skip
def test_a_new_workflow_that_is_refused_says_whether_it_may_be_there(reply, remedy):
    assert play(create(API, DOCUMENT, After()), (POST, reply)).remedy == remedy


def test_a_new_workflow_without_an_id_is_told():
    refusal = play(create(API, DOCUMENT, After()), (POST, fine({"id": "w"})))
    assert refusal.message == "the platform says that it succeeded, but sends no id and checksum"


def test_a_new_workflow_that_cannot_be_read_back_is_told():
    kept = Keep({"id": "w", "checksum": "next"})
    assert (
        play(create(API, DOCUMENT, After()), (POST, MADE), (kept, Waited()), (GET, wrong("no"))).status == 400
    )


# --- changing one


def test_an_update_sends_the_whole_document_and_keeps_the_new_checksum():
    done = play(
        push(API, Update("w", CHANGED)),
        (GET, there()), (TELL, Waited()), (PATCH, fine({"checksum": "next"})), (KEEP, Waited()), (GET, there("next", comment="new")),
    )  # fmt: skip
    assert done == Done("updated", "w", "A workflow")


def test_a_checksum_that_is_not_told_is_looked_up():
    after = there("next", comment="new")
    done = play(
        push(API, Update("w", CHANGED)),
        (GET, there()), (TELL, Waited()), (PATCH, fine({})), (GET, after), (KEEP, Waited()), (GET, after),
    )  # fmt: skip
    assert done.verb == "updated"
    script = ((GET, there()), (TELL, Waited()), (PATCH, fine({})), (GET, wrong("no")))
    assert play(push(API, Update("w", CHANGED)), *script).status == 400


def test_a_stale_document_is_a_conflict_before_anything_is_sent():
    refusal = play(push(API, Update("w", CHANGED)), (GET, there("theirs", name="Other")))
    assert refusal.code == "nected.conflict"
    assert refusal.fields == (
        ("the checksum of the document", "old"),
        ("the checksum on the platform", "theirs"),
    )
    assert refusal.details.splitlines() == [
        "from the document to what is there:", '  name: "A workflow" -> "Other"', '  comment: "new" -> nothing',
    ]  # fmt: skip
    assert refusal.remedy.endswith("nothing was sent")


def test_a_third_writer_between_the_look_and_the_update_is_a_conflict():
    refusal = play(
        push(API, Update("w", CHANGED)),
        (GET, there()),
        (TELL, Waited()),
        (PATCH, wrong()),
        (GET, there("theirs")),
    )
    assert (refusal.code, refusal.fields[1][1]) == ("nected.conflict", "theirs")
    assert refusal.remedy.endswith("nothing was changed by this push")


def test_a_bad_body_is_told_in_the_words_of_the_platform():
    refusal = play(
        push(API, Update("w", CHANGED)),
        (GET, there()), (TELL, Waited()), (PATCH, wrong("nodes[0].position.x must be float")), (GET, there()),
    )  # fmt: skip
    assert (refusal.code, refusal.status) == ("", 400)
    assert "nodes[0].position.x must be float" in refusal.message
    assert refusal.remedy == "nothing was changed"


@pytest.mark.parametrize("reply", [LOST, wrong("oops", 500)])
def test_an_update_without_an_answer_is_looked_after(reply):
    start = ((GET, there()), (TELL, Waited()), (PATCH, reply))
    stored = there("next", comment="new")
    done = play(push(API, Update("w", CHANGED)), *start, (GET, stored), (told("but it is there as it was sent"), Waited()), (KEEP, Waited()), (GET, stored))  # fmt: skip
    assert done.verb == "updated"
    refusal = play(push(API, Update("w", CHANGED)), *start, (GET, there()))
    assert refusal.remedy == "nothing was changed"
    refusal = play(push(API, Update("w", CHANGED)), *start, (GET, there("theirs", comment="other")))
    assert refusal.code == "nected.conflict"
    refusal = play(push(API, Update("w", CHANGED)), *start, (GET, wrong("no")))
    assert refusal.remedy.startswith("whether it was stored is not known: the platform answered 400: no")


def test_what_is_so_already_is_not_sent():
    assert play(push(API, Update("w", DOCUMENT)), (GET, there())) == Done(
        "unchanged", "w", "it is so already"
    )
    assert play(preview(API, Update("w", DOCUMENT)), (GET, there())) == Done(
        "unchanged", "w", "it is so already"
    )


def test_what_tests_have_put_into_nodes_since_is_not_lost():
    def nodes(**data):
        return [*DOCUMENT["nodes"], {"id": "2", "type": "codeNode", "data": data}, {"id": "3"}]

    document = {**CHANGED, "nodes": nodes(name="A")}
    tested = there(nodes=nodes(name="A", executedValue=[1]))
    request = play(preview(API, Update("w", document)), (GET, tested), (TELL, Waited()))
    assert json.loads(request.body)["nodes"] == nodes(name="A", executedValue=[1])
    document = {**DOCUMENT, "nodes": nodes(name="A", executedValue=[2])}
    mine = told("nodes[2].data.executedValue[0]: 1 -> 2")
    request = play(preview(API, Update("w", document)), (GET, tested), (mine, Waited()))
    assert json.loads(request.body)["nodes"] == nodes(name="A", executedValue=[2])


def test_a_lost_answer_is_understood_where_a_test_has_put_something_into_a_node():
    document = {**CHANGED, "nodes": [*DOCUMENT["nodes"], {"id": "2", "data": {"name": "A"}}]}
    tested = [*DOCUMENT["nodes"], {"id": "2", "data": {"name": "A", "executedValue": 1}}]
    stored = there("next", comment="new", nodes=tested)
    patch = sent("PATCH", W, {**document, "nodes": tested})
    done = play(
        push(API, Update("w", document)),
        (GET, there(nodes=tested)), (TELL, Waited()), (patch, LOST), (GET, stored),
        (told("but it is there as it was sent"), Waited()), (KEEP, Waited()), (GET, stored),
    )  # fmt: skip
    assert (done.verb, done.losses) == ("updated", ())


def test_a_workflow_that_is_not_there_is_told():
    assert play(push(API, Update("w", DOCUMENT)), (GET, wrong("no"))).status == 400
    assert play(preview(API, Update("w", DOCUMENT)), (GET, wrong("no"))).status == 400


def test_a_preview_tells_what_changes_and_what_follows():
    update = Update("w", CHANGED, After(test=True, publish=True, title="v1"))
    request = play(
        preview(API, update),
        (GET, there()),
        (TELL, Waited()),
        (told(f'then: POST {W}/test {{"checksum": "…", "version": "draft"}}'), Waited()),
        (told(f'then: POST {W}/publish {{"checksum": "…", "title": "v1"}}'), Waited()),
    )
    assert (request.method, request.body) == ("PATCH", encoded(CHANGED))


# --- testing and publishing


TEST = sent("POST", f"{W}/test", {"checksum": "old", "version": "draft", "params": {"a": 1}})
PUBLISH = sent("POST", f"{W}/publish", {"checksum": "old", "title": "T", "description": "N"})
BOTH = After(test=True, publish=True, params={"a": 1}, title="T", description="N")
GOOD = fine({"status": "success", "nodeOutputs": {"2": {"status": "success"}}, "output": None})


def test_a_workflow_is_tested_and_then_published():
    done = play(act(API, "w", BOTH), (GET, there()), (TEST, GOOD), (PUBLISH, fine({"version": "v3"})))
    assert done == Done("unchanged", "w", "tested, published as v3")
    done = play(act(API, "w", BOTH), (GET, there()), (TEST, GOOD), (PUBLISH, fine({})))
    assert done.detail == "tested, published"


def test_a_checksum_that_a_test_changes_is_used_and_kept():
    tested = fine({"status": "success", "checksum": "next"})
    publish = sent("POST", f"{W}/publish", {"checksum": "next", "title": "T", "description": "N"})
    done = play(act(API, "w", BOTH), (GET, there()), (TEST, tested), (KEEP, Waited()), (publish, fine({})))
    assert done.detail == "tested, published"


def test_publish_without_a_test_is_refused_with_the_reason():
    for program in (
        act(API, "w", After(publish=True)),
        push(API, Update("w", DOCUMENT, After(publish=True))),
    ):
        refusal = play(program, (GET, there()))
        assert refusal.code == "nected.not_tested"
        assert refusal.message == "the platform publishes only what was tested after its last update"
    refusal = play(push(API, Update("w", CHANGED, After(publish=True))), (GET, there(testedAt="2026-05-05")))
    assert (refusal.code, refusal.remedy) == ("nected.not_tested", "add --test; nothing was sent")


def test_a_preview_of_a_test_is_its_first_call():
    request = play(preview_act(API, "w", BOTH), (GET, there()), (told(f"then: POST {W}/publish"), Waited()))
    assert (request.url, json.loads(request.body)["params"]) == (f"https://h.example{W}/test", {"a": 1})
    assert play(preview_act(API, "w", After(publish=True)), (GET, there())).code == "nected.not_tested"


def test_the_samples_of_the_trigger_are_given_to_the_test():
    document = workflow(fields=[field("a", executedValue=0), field("b", executedValue=None), field("c")])
    assert samples(document) == {"a": 0}
    assert samples({"nodes": []}) == {}
    test = sent("POST", f"{W}/test", {"checksum": "old", "version": "draft", "params": {}})
    done = play(act(API, "w", After(test=True, params={})), (GET, there()), (test, GOOD))
    assert done.detail == "tested"


def test_what_was_tested_before_is_published():
    publish = sent("POST", f"{W}/publish", {"checksum": "old"})
    done = play(act(API, "w", After(publish=True)), (GET, there(testedAt="2026-05-05")), (publish, fine({})))
    assert done.detail == "published"


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"status": "error"}, ()),
        ({"status": "FAILED", "nodeOutputs": []}, ()),
        ({"nodeOutputs": {"2": {"status": "error", "message": "no"}, "3": {"status": "success"}, "4": 1}}, (("node 2", "no"),)),
        ({"nodeOutputs": {"2": {"status": "failed", "error": "why"}, "3": {"status": "failure"}}}, (("node 2", "why"), ("node 3", "failed"))),
    ],
)  # fmt: skip
def test_what_is_not_tested_well_is_not_published(data, fields):
    refusal = play(act(API, "w", BOTH), (GET, there()), (TEST, fine(data)))
    assert (refusal.code, refusal.fields, refusal.remedy) == (
        "nected.not_tested",
        fields,
        "it was not published",
    )


def test_a_test_or_a_publish_that_is_refused_is_told():
    refusal = play(act(API, "w", BOTH), (GET, there()), (TEST, wrong()))
    assert (refusal.status, refusal.remedy) == (400, "it was not published")
    refusal = play(act(API, "w", BOTH), (GET, there()), (TEST, GOOD), (PUBLISH, wrong("no")))
    assert isinstance(refusal, Refusal)
    assert refusal.remedy == ""
    assert play(act(API, "w", After(test=True)), (GET, wrong("no"))).status == 400
