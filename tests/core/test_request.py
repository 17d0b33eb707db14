"""What goes on the wire, and what is refused before it can (DESIGN 3; SEMANTICS, Steps; Secrets)."""

import json
from base64 import b64decode
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.commands import (
    FileContent,
    GetToken,
    Part,
    ReadFile,
    Refused,
    Request,
    Token,
    Waited,
    header,
)
from runner.core.plan import build_plan
from runner.core.redact import MASK, Masker
from runner.core.request import (
    Prepared,
    RunTerms,
    boundary_of,
    fetch_token,
    learn_credentials,
    prepare,
    redirected,
    with_token,
)
from runner.core.retry import idempotency_key
from runner.core.scope import RunValues, Scope, SecretNames
from runner.core.url import origin_of
from runner.errors import StepError
from tests.play import flow_of

PASSWORD = "p\"a's&s=w%o+r;d \\é😀<>/?#"
HALF = "\ud83d"
BOUNDARY = boundary_of("run", "a")


def prepared_by(step, *replies, inputs=None, env=None, secret=None, base_url=None, masker=None, **config):
    """Prepare a step's request; each command that it yields is kept and answered with the next reply."""
    plan = build_plan(flow_of({"id": "a", "method": "POST", "url": "http://h.example/a", **step}, **config))
    assert not plan.errors, [str(problem) for problem in plan.errors]
    work = plan.steps[0].work
    run = RunValues("run")
    scope = Scope(inputs=inputs or {}, env=env or {}, run=run, secret=secret or SecretNames())
    terms = RunTerms("run", Masker() if masker is None else masker, base_url)
    program = prepare(plan.steps[0], work, scope, terms, "a")
    commands, answers = [], list(replies)
    try:
        commands.append(next(program))
        while True:
            commands.append(program.send(answers.pop(0)))
    except StopIteration as stop:
        assert not answers
        return stop.value, commands


def request_of(step, *replies, **given_values):
    return prepared_by(step, *replies, **given_values)[0].request


def refusal(step, *replies, **given_values):
    with pytest.raises(StepError) as caught:
        prepared_by(step, *replies, **given_values)
    return caught.value.code, caught.value.where


def secret_input(*names):
    return SecretNames(inputs=frozenset(names))


# --- bodies --------------------------------------------------------------------------------------


def test_an_object_is_sent_as_compact_json_with_its_content_type():
    request = request_of({"body": {"a": [1, {"b": "é"}]}})
    assert request.body == '{"a":[1,{"b":"é"}]}'.encode()
    assert request.headers == (("Content-Type", "application/json"),)


def test_numbers_stay_numbers_and_texts_stay_texts():
    body = {"n": "{{input.n}}", "t": "{{input.t}}", "b": "{{input.b}}", "f": 1.0, "in": "no {{input.n}}"}
    request = request_of({"body": body}, inputs={"n": 2**60 + 1, "t": "123", "b": False})
    assert (
        request.body == b'{"n":1152921504606846977,"t":"123","b":false,"f":1.0,"in":"no 1152921504606846977"}'
    )


def test_a_list_may_be_the_body_and_null_in_it_stays():
    assert request_of({"body": ["{{input.x}}", None]}, inputs={"x": None}).body == b"[null,null]"


def test_a_content_type_of_the_step_wins():
    request = request_of({"body": {"a": 1}, "headers": {"content-type": "application/vnd.x+json"}})
    assert request.headers == (("content-type", "application/vnd.x+json"),)


def test_a_get_without_a_body_has_neither_body_nor_content_type():
    request = request_of({"method": "get"})
    assert request == Request("GET", "http://h.example/a")


def test_a_text_body_is_sent_as_it_is():
    request = request_of({"body": "héllo {{input.x}}"}, inputs={"x": '"q"'})
    assert request.body == 'héllo "q"'.encode()
    assert request.headers == (("Content-Type", "text/plain; charset=utf-8"),)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/a+json"]
)
def test_values_in_a_json_text_are_escaped(kind):
    step = {"headers": {"Content-Type": kind}, "body": '{"a": "x{{input.x}}", "b": {{input.n}}}'}
    request = request_of(step, inputs={"x": PASSWORD, "n": [1]})
    assert json.loads(request.body) == {"a": f"x{PASSWORD}", "b": [1]}
    assert request.headers == (("Content-Type", kind),)


@pytest.mark.parametrize(
    ("value", "kind", "body", "content_type"),
    [
        ({"a": 1}, None, b'{"a":1}', "application/json"),
        (5, None, b"5", "application/json"),
        ("text", None, b"text", "text/plain; charset=utf-8"),
        ("text", "application/json", b'"text"', "application/json"),
        ("text", "text/csv", b"text", "text/csv"),
        (None, None, None, None),
    ],
)
def test_a_body_that_is_one_reference_keeps_its_kind(value, kind, body, content_type):
    headers = {} if kind is None else {"Content-Type": kind}
    request = request_of({"body": "{{input.x}}", "headers": headers}, inputs={"x": value})
    assert (request.body, header(request.headers, "content-type")) == (body, content_type)


def test_a_form_repeats_lists_leaves_null_out_and_spells_values_as_json_does():
    form = {"a": "x y", "l": ["1", 2], "no": "{{input.no}}", "t": True, "o": {"k": "v"}}
    request = request_of({"form": form}, inputs={"no": None})
    assert parse_qsl(request.body.decode()) == [
        ("a", "x y"), ("l", "1"), ("l", "2"), ("t", "true"), ("o", '{"k":"v"}'),
    ]  # fmt: skip
    assert request.headers == (("Content-Type", "application/x-www-form-urlencoded"),)


def test_an_object_under_a_form_content_type_is_sent_as_a_form():
    kind = "application/x-www-form-urlencoded; charset=utf-8"
    request = request_of({"body": {"a": "1&2", "b": [3]}, "headers": {"Content-Type": kind}})
    assert request.body == b"a=1%262&b=3"
    assert request.headers == (("Content-Type", kind),)


def test_a_file_is_sent_as_the_body_with_a_type_guessed_from_its_name():
    step = {"bodyFile": "data/{{input.n}}.json"}
    found, commands = prepared_by(step, FileContent(b"\x00\xff"), inputs={"n": 7})
    assert commands == [ReadFile("data/7.json")]
    assert found.request.body == b"\x00\xff"
    assert found.request.headers == (("Content-Type", "application/json"),)
    unknown, _ = prepared_by({"bodyFile": "blob"}, FileContent(b""))
    assert unknown.request.headers == (("Content-Type", "application/octet-stream"),)


def test_a_file_that_may_not_be_read_fails_the_step_at_its_place():
    step = {"bodyFile": "../x"}
    assert refusal(step, Refused("file.outside", "no")) == ("file.outside", "steps[0].bodyFile")
    step = {"multipart": {"f": {"file": "../x"}}}
    assert refusal(step, Refused("file.outside", "no")) == ("file.outside", "steps[0].multipart.f")


def test_a_wrong_kind_of_reply_is_a_fault_that_is_not_hidden():
    with pytest.raises(TypeError):
        prepared_by({"bodyFile": "x"}, Waited())


def test_a_multipart_body_has_texts_and_files():
    parts = {
        "t": "{{input.x}}",
        "n": "{{input.n}}",
        "no": "{{input.no}}",
        "f": {"file": "d/a.csv"},
        "g": {"file": "blob", "filename": "{{input.n}}.bin", "contentType": "x/y"},
        "h": {"file": "blob"},
    }
    values = {"x": PASSWORD, "n": 5, "no": None}
    contents = FileContent(b"1"), FileContent(b"2"), FileContent(b"3")
    found, commands = prepared_by({"multipart": parts}, *contents, inputs=values)
    assert commands == [ReadFile("d/a.csv"), ReadFile("blob"), ReadFile("blob")]
    assert found.request.body is None
    assert found.request.parts == (
        Part("t", PASSWORD.encode()),
        Part("n", b"5"),
        Part("f", b"1", "a.csv", "text/csv"),
        Part("g", b"2", "5.bin", "x/y"),
        Part("h", b"3", "blob", "application/octet-stream"),
    )
    assert found.request.headers == (("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"),)


def test_a_multipart_content_type_without_a_boundary_is_completed():
    step = {"multipart": {"a": "b"}, "headers": {"content-type": "multipart/form-data", "X": "1"}}
    assert request_of(step).headers == (
        ("X", "1"),
        ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}"),
    )
    step["headers"] = {"Content-Type": "multipart/form-data; Boundary=mine"}
    assert request_of(step).headers == (("Content-Type", "multipart/form-data; Boundary=mine"),)


def test_the_boundary_is_the_same_for_the_same_place_of_the_same_run_only():
    assert boundary_of("run", "a") == BOUNDARY
    assert len({BOUNDARY, boundary_of("run", "b"), boundary_of("other", "a")}) == 3


@given(st.text())
def test_a_password_arrives_byte_for_byte_in_every_kind_of_body(password):
    def sent(step):
        return request_of(step, inputs={"p": password})

    assert json.loads(sent({"body": {"p": "{{input.p}}"}}).body) == {"p": password}
    as_text = {"headers": {"Content-Type": "application/json"}, "body": '{"p":"{{input.p}}"}'}
    assert json.loads(sent(as_text).body) == {"p": password}
    assert sent({"body": "{{input.p}}"}).body == password.encode()
    form = sent({"form": {"p": "{{input.p}}"}}).body.decode()
    assert parse_qs(form, keep_blank_values=True) == {"p": [password]}
    assert sent({"multipart": {"p": "{{input.p}}"}}).parts == (Part("p", password.encode()),)
    query = urlsplit(sent({"query": {"p": "{{input.p}}"}}).url).query
    assert parse_qs(query, keep_blank_values=True) == {"p": [password]}
    basic = sent({"auth": {"type": "basic", "username": "ü", "password": "{{input.p}}"}})
    assert (
        b64decode(header(basic.headers, "authorization").removeprefix("Basic ")).decode() == f"ü:{password}"
    )


# --- nothing is sent when something does not fit -------------------------------------------------

PLACES = [
    ({"url": "http://h.example/%s"}, "url"),
    ({"query": {"q": "%s"}}, "query.q"),
    ({"headers": {"X-A": "%s"}}, "headers.X-A"),
    ({"body": {"a": ["%s"]}}, "body.a[0]"),
    ({"body": "text %s"}, "body"),
    ({"body": "%s"}, "body"),
    ({"body": '{"a":"%s"}', "headers": {"Content-Type": "application/json"}}, "body"),
    ({"form": {"f": "%s"}}, "form.f"),
    ({"multipart": {"m": "%s"}}, "multipart.m"),
    ({"multipart": {"m": {"file": "%s"}}}, "multipart.m"),
    ({"bodyFile": "%s"}, "bodyFile"),
    ({"auth": {"type": "bearer", "token": "%s"}}, "auth.token"),
    ({"auth": {"type": "basic", "username": "u", "password": "%s"}}, "auth.password"),
]


def filled(value, text):
    if isinstance(value, dict):
        return {name: filled(one, text) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, text) for one in value]
    return value.replace("%s", text) if isinstance(value, str) else value


@pytest.mark.parametrize(("step", "place"), PLACES)
def test_a_missing_reference_fails_the_step_before_anything_is_asked_for(step, place):
    found = refusal(filled(step, "{{input.nothing}}"))
    assert found == ("reference.missing", f"steps[0].{place}")


@pytest.mark.parametrize(("step", "place"), PLACES)
def test_null_inside_text_fails_the_step_before_anything_is_asked_for(step, place):
    found = refusal(filled(step, "x{{input.null}}"), inputs={"null": None})
    assert found == ("template.null", f"steps[0].{place}")


@pytest.mark.parametrize(("step", "place"), PLACES)
@pytest.mark.parametrize("around", ["{{input.half}}", "x {{input.half}}"])
def test_half_a_character_fails_the_step_instead_of_the_runner(step, place, around):
    code, where = refusal(filled(step, around), inputs={"half": HALF})
    assert code == "template.encoding"
    assert where.startswith(f"steps[0].{place.partition('.')[0]}")


def test_half_a_character_in_a_key_from_elsewhere_fails_the_step():
    step = {"body": "{{input.o}}", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}
    code, where = refusal(step, inputs={"o": {HALF: 1}})
    assert code == "template.encoding"
    assert where.startswith("steps[0].body")
    assert refusal({"body": {"o": "{{input.o}}"}}, inputs={"o": {HALF: 1}})[0] == "template.encoding"


def test_a_number_that_json_does_not_have_is_not_sent():
    found = refusal({"body": {"n": "{{input.n}}"}}, inputs={"n": float("inf")})
    assert found == ("template.value", "steps[0].body")


# --- urls ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "config", "env"),
    [
        ("http://flag.example/v1/", {"baseUrl": "http://config.example"}, {"baseUrl": "http://env.example"}),
        (
            None,
            {"baseUrl": "http://{{env.host}}.example/v1"},
            {"baseUrl": "http://env.example", "host": "flag"},
        ),
        (None, {}, {"baseUrl": "http://flag.example/v1"}),
    ],
)
def test_a_relative_url_takes_its_base_from_the_flag_then_the_config_then_the_env(base_url, config, env):
    request = request_of({"url": "/a?b=1"}, base_url=base_url, env=env, **config)
    assert request.url == "http://flag.example/v1/a?b=1"


def test_an_absolute_url_needs_no_base():
    assert request_of({"url": "https://o.example"}, base_url="http://flag.example").url == "https://o.example"


def test_a_relative_url_without_a_base_is_an_error_that_says_what_to_give():
    with pytest.raises(StepError, match=r"--base-url, config.baseUrl or env.baseUrl") as caught:
        prepared_by({"url": "/a"})
    assert (caught.value.code, caught.value.where) == ("url.relative", "steps[0].url")


def test_a_base_url_that_cannot_be_rendered_says_where_it_stands():
    step = {"url": "/a"}
    assert refusal(step, baseUrl="{{env.host}}") == ("reference.missing", "config.baseUrl")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h.example/", "http://", "http:///a", "http://h.example:0/", "http://h.example:65536/",
        "http://h.example:x/", "http://[::1/", "//h.example/a", "h.example/a", "nothing", "", "a\nb",
        "http://h.example/a\nb", "http://h.example/a\0", "http://h℀.example/",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused(url):
    assert refusal({"url": "{{input.url}}"}, inputs={"url": url}) == ("url.invalid", "steps[0].url")


def test_a_refused_url_is_shown_without_its_secrets():
    with pytest.raises(StepError) as caught:
        prepared_by(
            {"url": "ftp://me:hunter2@h.example/{{input.pw}}"},
            inputs={"pw": "abc"},
            secret=secret_input("pw"),
        )
    assert caught.value.message.startswith("'ftp://REDACTED:REDACTED@h.example/[masked]' is not a url")


def test_a_url_that_is_one_reference_is_used_as_it_stands():
    url = "https://o.example/a%2Fb?x=1&y=ä"
    assert request_of({"url": "{{input.url}}"}, inputs={"url": f" {url}\n"}).url == url


def test_a_query_repeats_lists_leaves_null_out_and_goes_before_the_fragment():
    query = {"a": ["1", 2], "b": "x y&é", "no": None, "list": [], "t": True}
    request = request_of({"url": "http://h.example/p?z=0#f", "query": query})
    assert request.url == "http://h.example/p?z=0&a=1&a=2&b=x%20y%26%C3%A9&t=true#f"


@pytest.mark.parametrize("query", [{}, {"no": None}, {"no": []}])
def test_a_query_without_values_leaves_the_url_alone(query):
    assert request_of({"query": query}).url == "http://h.example/a"


@given(st.text())
def test_a_value_cannot_leave_the_place_in_the_url_that_the_author_gave_it(value):
    step = {"url": "http://h.example/u/{{input.v}}/x?q={{input.v}}&z=1"}
    try:
        url = urlsplit(request_of(step, inputs={"v": value}).url)
    except StepError as error:
        assert error.code == "url.path"  # noqa: PT017 - `.` and `..` have no spelling in a path
        assert value in (".", "..")
        return
    assert (url.scheme, url.netloc, url.fragment) == ("http", "h.example", "")
    assert [unquote(part) for part in url.path.split("/")] == ["", "u", value, "x"]
    assert parse_qsl(url.query, keep_blank_values=True) == [("q", value), ("z", "1")]


@pytest.mark.parametrize("value", ["evil.example/", "me@evil", "h#", "h:80", "h\\x", ""])
def test_a_value_in_the_host_must_be_a_label(value):
    code, where = refusal({"url": "http://{{input.v}}.example/a"}, inputs={"v": value})
    assert (code, where) == ("url.host", "steps[0].url")


# --- what is shown, and what is learned ----------------------------------------------------------


def test_a_secret_is_masked_in_the_shown_url_and_nowhere_else():
    step = {
        "url": "http://h.example/u/{{input.pw}}/{{input.id}}",
        "query": {"k": ["{{input.pw}}"], "n": "{{input.id}}"},
    }
    found, _ = prepared_by(step, inputs={"pw": "p/1", "id": "i 1"}, secret=secret_input("pw"))
    assert found.request.url == "http://h.example/u/p%2F1/i%201?k=p%2F1&n=i%201"
    assert found.shown_url == f"http://h.example/u/{MASK}/i%201?k={MASK}&n=i%201"


def test_a_secret_in_the_base_url_is_masked_in_the_shown_url():
    secret = SecretNames(env=frozenset({"KEY"}))
    found, _ = prepared_by(
        {"url": "/a"}, env={"KEY": "k1"}, secret=secret, baseUrl="http://h.example/{{env.KEY}}/"
    )
    assert found.request.url == "http://h.example/k1/a"
    assert found.shown_url == f"http://h.example/{MASK}/a"


def test_what_is_not_secret_is_shown_as_it_is_sent():
    found, _ = prepared_by({"url": "http://h.example/{{input.a}}", "query": {"b": "c"}}, inputs={"a": 1})
    assert found.shown_url == found.request.url == "http://h.example/1?b=c"
    assert found.template == "/{input.a}"


@pytest.mark.parametrize(
    "step",
    [
        {"url": "http://h.example/{{ input.pw | upper }}"},
        {"query": {"q": "{{ input.pw | upper }}"}},
        {"headers": {"X": "{{ input.pw | upper }}"}},
        {"body": {"x": ["{{ input.pw | upper }}"]}},
        {"body": "x {{ input.pw | upper }}"},
        {"form": {"x": "{{ input.pw | upper }}"}},
        {"multipart": {"x": "{{ input.pw | upper }}"}},
        {"auth": {"type": "basic", "username": "{{ input.pw | upper }}"}},
        {"url": "/a", "baseUrl": "http://h.example/{{ input.pw | upper }}"},
    ],
)
def test_what_an_expression_makes_of_a_secret_is_masked_from_then_on(step):
    config = {"baseUrl": step["baseUrl"]} if "baseUrl" in step else {}
    masker = Masker()
    prepared_by(step, inputs={"pw": "hunter2"}, secret=secret_input("pw"), masker=masker, **config)
    assert masker.mask("so HUNTER2 it is") == f"so {MASK} it is"


def test_a_secret_expression_that_fails_is_told_with_its_exact_place():
    step = {"headers": {"X": "{{ input.pw ~ input.nothing }}"}}
    found = refusal(step, inputs={"pw": "hunter2"}, secret=secret_input("pw"))
    assert found == ("reference.missing", "steps[0].headers.X")


@pytest.mark.parametrize(
    ("userinfo", "secret"), [("me:p%40ss1", "p@ss1"), ("me:p%40ss1", "p%40ss1"), ("token-1", "token-1")]
)
def test_userinfo_of_a_url_is_masked_from_then_on(userinfo, secret):
    masker = Masker()
    prepared_by({"url": f"http://{userinfo}@h.example/"}, masker=masker)
    assert masker.mask(f"got {secret}!") == f"got {MASK}!"


def test_an_at_sign_in_the_path_of_a_url_is_no_userinfo():
    masker = Masker()
    request = request_of({"url": "http://h.example/@user1/mail"}, masker=masker)
    assert request.url == "http://h.example/@user1/mail"
    assert masker.mask("@user1") == "@user1"


# --- headers -------------------------------------------------------------------------------------


def test_header_values_are_text_stripped_and_left_out_when_null():
    headers = {"X-N": "{{input.n}}", "X-T": True, "X-S": " é\n", "X-No": "{{input.no}}", "X-O": {"a": 1}}
    request = request_of({"headers": headers}, inputs={"n": 5, "no": None})
    assert request.headers == (("X-N", "5"), ("X-T", "true"), ("X-S", "é"), ("X-O", '{"a":1}'))


@given(st.text(), st.sampled_from("\r\n\0"), st.text())
def test_a_header_cannot_be_injected(before, bad, after):
    step = {"headers": {"X-A": "{{input.v}}"}}
    try:
        ((_, value),) = request_of(step, inputs={"v": before + bad + after}).headers
    except StepError as error:
        assert (error.code, error.where) == ("header.value", "steps[0].headers.X-A")  # noqa: PT017
        return
    assert not set("\r\n\0") & set(value)


@pytest.mark.parametrize("name", ["a b", "a:b", "a\r\nb", "ä", ""])
def test_what_is_no_header_name_is_refused(name):
    assert refusal({"headers": {name: "x"}}) == ("header.name", f"steps[0].headers.{name}")


def test_an_idempotency_key_is_sent_unless_the_step_sets_one():
    assert request_of({"idempotencyKey": True}).headers == (("Idempotency-Key", idempotency_key("run", "a")),)
    step = {"idempotencyKey": True, "headers": {"idempotency-key": "mine"}}
    assert request_of(step).headers == (("idempotency-key", "mine"),)


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        ("Authorization", "Bearer t0ken-1", ["Bearer t0ken-1", "t0ken-1"]),
        ("Authorization", "t0ken-1", ["t0ken-1"]),
        ("authorization", "Basic bWU6aHVudGVyMjI=", ["bWU6aHVudGVyMjI=", "hunter22"]),
        ("Proxy-Authorization", "Basic broken!", ["broken!"]),
        ("Authorization", "Basic ZWRpdA==", ["ZWRpdA=="]),
        ("X-Api-Key", "k3y-of-ours", ["k3y-of-ours"]),
        ("nected-api-key", "ApiKey k3y-of-ours", ["k3y-of-ours"]),
        ("Cookie", "theme=on; sid=s3ssion-1", ["theme=on; sid=s3ssion-1", "s3ssion-1"]),
        ("Set-Cookie", "sid=s3ssion-1; Path=/only-here", ["s3ssion-1"]),
    ],
)
def test_the_values_of_a_credential_header_are_masked_whole_and_by_their_parts(name, value, secrets):
    masker = Masker()
    learn_credentials(((name, value), ("X-Plain", "edit me on /only-here")), masker)
    assert [masker.mask(f"<{one}>") for one in secrets] == [f"<{MASK}>"] * len(secrets)
    assert masker.mask("edit me on /only-here") == "edit me on /only-here"


def test_a_literal_key_in_a_header_is_private_and_masked():
    masker = Masker()
    found, _ = prepared_by({"headers": {"X-Api-Key": "l1teral-key", "X-Other": "plain-value"}}, masker=masker)
    assert found.private == {"x-api-key"}
    assert masker.mask("l1teral-key plain-value") == f"{MASK} plain-value"


def test_a_url_that_is_none_shows_no_part_of_a_secret():
    masker = Masker(["s3cret" * 50])
    with pytest.raises(StepError, match="is not a url") as caught:
        prepared_by({"url": "mailto:" + "a" * 150 + "s3cret" * 50}, masker=masker)
    assert ("s3cret" in caught.value.message, MASK in caught.value.message) == (False, True)


def test_headers_made_from_a_secret_are_private():
    headers = {"X-Key": "k {{input.pw}}", "X-Other": "{{input.id}}"}
    found, _ = prepared_by({"headers": headers}, inputs={"pw": "p", "id": 1}, secret=secret_input("pw"))
    assert found.private == {"x-key"}


# --- credentials ---------------------------------------------------------------------------------


def authorization(request):
    return header(request.headers, "authorization")


def test_basic_credentials_are_utf_8():
    auth = {"type": "basic", "username": "jürgen", "password": "{{input.pw}}"}
    masker = Masker()
    request = request_of({"auth": auth}, inputs={"pw": "пароль"}, masker=masker)
    sent = authorization(request).removeprefix("Basic ")
    assert b64decode(sent).decode() == "jürgen:пароль"
    assert masker.mask(f"пароль {sent}") == f"{MASK} {MASK}"


def test_a_basic_password_may_be_left_out_or_null():
    for auth in ({}, {"password": "{{input.pw}}"}):
        request = request_of({"auth": {"type": "basic", "username": "u", **auth}}, inputs={"pw": None})
        assert b64decode(authorization(request).removeprefix("Basic ")) == b"u:"


def test_a_bearer_token_is_sent_and_masked():
    masker = Masker()
    auth = {"type": "bearer", "token": "{{input.t}}"}
    request = request_of({"auth": auth}, inputs={"t": "tok-12345\n"}, masker=masker)
    assert authorization(request) == "Bearer tok-12345"
    assert masker.mask("tok-12345") == MASK


def test_a_token_with_a_line_break_in_it_is_refused():
    auth = {"type": "bearer", "token": "{{input.t}}"}
    assert refusal({"auth": auth}, inputs={"t": "a\r\nX: y"}) == ("header.value", "steps[0].auth.token")


def test_a_required_setting_that_is_null_is_refused():
    auth = {"type": "bearer", "token": "{{input.t}}"}
    assert refusal({"auth": auth}, inputs={"t": None}) == ("template.null", "steps[0].auth.token")


def test_an_authorization_header_of_the_step_wins():
    auth = {"type": "oauth2", "tokenUrl": "http://t.example/", "clientId": "i", "clientSecret": "s"}
    found, commands = prepared_by({"auth": auth, "headers": {"authorization": "mine"}})
    assert found.request.headers == (("authorization", "mine"),)
    assert commands == []
    assert found.spec is None


OAUTH = {
    "type": "oauth2",
    "tokenUrl": "http://t.example/token",
    "clientId": "id",
    "clientSecret": "{{input.pw}}",
    "scope": "{{input.scope}}",
}


def test_an_oauth2_token_is_asked_for_with_the_rendered_settings():
    masker = Masker()
    step = {"auth": {**OAUTH, "audience": "aud", "clientAuth": "body"}, "timeout": 5000, "retryCount": 2}
    found, (command,) = prepared_by(
        step, Token("tok"), inputs={"pw": "hunter2", "scope": "a b"}, masker=masker
    )
    spec = command.spec
    assert command == GetToken(spec, None)
    assert (spec.token_url, spec.client_id, spec.client_secret) == ("http://t.example/token", "id", "hunter2")
    assert (spec.scope, spec.audience, spec.client_auth) == ("a b", "aud", "body")
    assert (spec.timeout, spec.max_attempts) == (5.0, 3)
    assert authorization(found.request) == "Bearer tok"
    assert (found.token, found.spec) == ("tok", spec)
    assert masker.mask("hunter2") == MASK


def test_equal_settings_are_one_spec_whatever_the_timeouts_are():
    values = {"pw": "hunter2", "scope": None}
    _, (one,) = prepared_by({"auth": OAUTH, "timeout": 1000}, Token("tok"), inputs=values)
    _, (two,) = prepared_by({"auth": OAUTH, "retryCount": 3}, Token("tok"), inputs=values)
    assert one.spec == two.spec
    assert hash(one.spec) == hash(two.spec)
    assert (one.spec.scope, one.spec.client_auth) == (None, "basic")


def test_a_token_that_is_not_to_be_had_fails_the_step():
    values = {"pw": "hunter2", "scope": None}
    found = refusal({"auth": OAUTH}, Refused("auth.token", "no"), inputs=values)
    assert found == ("auth.token", "steps[0].auth")


@pytest.mark.parametrize("url", ["/token", "ftp://t.example", "http://[", "http://t.example:99999/"])
def test_a_token_url_that_is_no_url_is_refused(url):
    step = {"auth": {**OAUTH, "tokenUrl": url}}
    assert refusal(step, inputs={"pw": "x", "scope": None}) == ("url.invalid", "steps[0].auth")


def test_a_wrong_reply_to_a_token_request_is_a_fault_that_is_not_hidden():
    program = fetch_token(None, None)
    next(program)
    with pytest.raises(TypeError):
        program.send(Waited())


def test_another_token_takes_the_place_of_the_first():
    old = Prepared(
        Request("GET", "http://h.example/", (("authorization", "Bearer 1"), ("X", "y"))), "", frozenset()
    )
    new = with_token(old, "2")
    assert new.request.headers == (("X", "y"), ("Authorization", "Bearer 2"))
    assert new.token == "2"


# --- redirects -----------------------------------------------------------------------------------


def asked(method="GET", url="http://h.example/a/b?c=1", headers=(), body=None, **keys):
    request = Request(method, url, tuple(headers), body)
    return Prepared(request, keys.pop("shown_url", url), keys.pop("private", frozenset()), "/a", **keys)


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", 301, "GET"), ("POST", 302, "GET"), ("POST", 303, "GET"), ("POST", 307, "POST"), ("POST", 308, "POST"),
        ("PUT", 301, "PUT"), ("PUT", 302, "PUT"), ("PUT", 303, "GET"), ("PUT", 307, "PUT"), ("DELETE", 303, "GET"),
        ("GET", 301, "GET"), ("GET", 303, "GET"), ("HEAD", 303, "HEAD"), ("HEAD", 302, "HEAD"),
    ],
)  # fmt: skip
def test_the_method_after_a_redirect(method, status, then):
    assert redirected(asked(method), status, "/x").request.method == then


def test_a_redirect_to_get_drops_the_body_and_what_describes_it():
    headers = [("Content-Type", "a/b"), ("content-length", "1"), ("Content-Language", "de"), ("X", "y")]
    found = redirected(asked("POST", headers=headers, body=b"1"), 303, "/x").request
    assert found == Request("GET", "http://h.example/x", (("X", "y"),))
    parts = Prepared(Request("POST", "http://h.example/", (), None, (Part("a", b"b"),)), "", frozenset())
    assert redirected(parts, 302, "/x").request.parts is None
    assert redirected(parts, 307, "/x").request.parts == (Part("a", b"b"),)


def test_a_redirect_that_keeps_the_method_keeps_the_body():
    headers = (("Content-Type", "a/b"),)
    found = redirected(asked("POST", headers=headers, body=b"1"), 308, "/x").request
    assert found == Request("POST", "http://h.example/x", headers, b"1")


SENSITIVE = [
    ("Authorization", "a"), ("cookie", "b"), ("Proxy-Authorization", "c"), ("X-Key", "d"), ("Host", "e"), ("X", "y"),
]  # fmt: skip


@pytest.mark.parametrize(
    "location",
    ["https://h.example/", "http://o.example/", "//o.example/a", "http://h.example:81/", "http://h.example.evil.example/", "http://h.example@evil.example/"],
)  # fmt: skip
def test_another_origin_gets_no_credentials(location):
    before = asked(headers=SENSITIVE, private=frozenset({"x-key"}), token="t", spec="spec")
    found = redirected(before, 307, location)
    assert found.request.headers == (("X", "y"),)
    assert (found.token, found.spec) == (None, None)


@pytest.mark.parametrize(
    "location", ["/x", "http://h.example/x", "HTTP://H.EXAMPLE:80/x", "?x", "//h.example/x"]
)
def test_the_same_origin_keeps_the_credentials(location):
    before = asked(headers=SENSITIVE, private=frozenset({"x-key"}), token="t", spec="spec")
    found = redirected(before, 307, location)
    assert found.request.headers == tuple(SENSITIVE)
    assert (found.token, found.spec) == ("t", "spec")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "http://h.example/x"), ("x", "http://h.example/a/x"), ("../x?y=1", "http://h.example/x?y=1"),
        ("?y=1", "http://h.example/a/b?y=1"), ("//o.example", "http://o.example"), ("", "http://h.example/a/b?c=1"),
    ],
)  # fmt: skip
def test_a_relative_location_is_resolved(location, url):
    found = redirected(asked(), 302, location)
    assert found.request.url == found.shown_url == url
    assert found.template is None


def test_a_location_relative_to_a_masked_url_stays_masked():
    before = asked(url="http://h.example/pw/a", shown_url=f"http://h.example/{MASK}/a")
    assert redirected(before, 302, "b").shown_url == f"http://h.example/{MASK}/b"
    assert redirected(before, 302, "http://o.example/").shown_url == "http://o.example/"


def test_a_masked_host_does_not_break_a_redirect():
    before = asked(url="http://pw/a", shown_url=f"http://{MASK}/a")
    assert redirected(before, 302, "b").shown_url == "http://pw/b"


def test_a_redirect_from_https_to_http_is_refused():
    with pytest.raises(StepError, match="from https to http") as caught:
        redirected(asked(url="https://h.example/"), 302, "http://h.example/")
    assert caught.value.code == "http.redirect"


@pytest.mark.parametrize(
    "location", ["ftp://h.example/", "javascript:x", "https:///x", "http://[::1", "http://h:x/", "data:,"]
)
def test_a_redirect_to_something_that_cannot_be_asked_is_refused(location):
    with pytest.raises(StepError) as caught:
        redirected(asked(), 302, location)
    assert caught.value.code == "http.redirect"


@given(st.one_of(st.text(), st.text("htps:/.@[]#?\\%0x", max_size=20).map("http:".__add__)))
def test_whatever_the_location_is_the_target_is_a_url_or_the_redirect_is_refused(location):
    try:
        target = redirected(asked(), 302, location).request.url
    except StepError as error:
        assert error.code == "http.redirect"  # noqa: PT017
        return
    assert origin_of(target)[0] in ("http", "https")


# --- credentials ---------------------------------------------------------------------------------


def test_headers_that_carry_credentials_are_masked_whole_and_by_their_parts():
    masker = Masker()
    headers = (
        ("Authorization", "Bearer l1teral-token"),
        ("Cookie", "sid=s3ssion-id; theme=on"),
        ("set-cookie", "sid=n3w-session; Path=/somewhere"),
        ("X-Other", "plain-value"),
    )
    learn_credentials(headers, masker)
    shown = masker.mask("l1teral-token s3ssion-id n3w-session on somewhere plain-value")
    assert shown == f"{MASK} {MASK} {MASK} on somewhere plain-value"
