import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.condition import compile_condition
from runner.core.output import Absent, ResponseView, compile_output
from runner.core.reference import TemplateError
from runner.core.scope import Scope

BODY = {
    "token": "t",
    "status": "busy",
    "user": {"id": 7, "items": [{"sku": "a"}, {"sku": "b"}], "a b": 1, "x-y": 2, "nil": None},
    "list": [1, 2, 3],
    "0": "zero",
    "body": {"x": 1},
    "responseCode": 5,
}
HEADERS = (
    ("Content-Type", "application/json"),
    ("X-Response-Time", "12"),
    ("Vary", "a"),
    ("vary", "b"),
    ("Set-Cookie", "sid=abc=; Path=/; HttpOnly"),
    ("set-cookie", " theme = dark "),
    ("Set-Cookie", "sid=def"),
    ("Set-Cookie", "broken; Path=/"),
    ("Set-Cookie", "=nameless"),
)


def view(body=BODY, headers=HEADERS, status=201):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ResponseView(status, tuple(headers), content)


def read(path, **given):
    return compile_output(path).read(view(**given))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("response.body", BODY),
        ("response", BODY),
        ("response.body.token", "t"),
        ("response.body.user.items[1].sku", "b"),
        ("response.body.user.items.0.sku", "a"),
        ("response.body.list[-1]", 3),
        ("response.body.user['a b']", 1),
        ("response.body.user.x-y", 2),
        ("response.body.user.nil", None),
        ("response.status", 201),
        ("response.headers.x-response-time", "12"),
        ("response.headers.X-RESPONSE-TIME", "12"),
        ("response.headers['X-Response-Time']", "12"),
        ("response.headers.vary", "a, b"),
        ("response.cookies.sid", "def"),
        ("response.cookies.theme", "dark"),
        ("response.cookies", {"sid": "def", "theme": "dark"}),
        ("response.token", "t"),
        ("response.user.id", 7),
        ("response['token']", "t"),
        ("token", "t"),
        (" user.id ", 7),
        ("status", "busy"),
        ("user.items[0].sku", "a"),
        ("0", "zero"),
        ("[0]", "zero"),
        ("body.x", 1),
        ("responseCode", 5),
        ("$", BODY),
        ("$.token", "t"),
        ("$.user.items[1].sku", "b"),
        ("$.list[-1]", 3),
        ("$['user']['a b']", 1),
        ('$["token"]', "t"),
        ("$.list[*]", [1, 2, 3]),
        ("$.list[0:1]", [1]),
        ("$..sku", ["a", "b"]),
        ("$.list[?@ > 1]", [2, 3]),
        ("$.user.items[?@.sku == 'a'].sku", ["a"]),
        ("$.user.items[?search(@.sku, '[ab].?')].sku", ["a", "b"]),
    ],
)
def test_an_output_reads_its_place_in_an_answer(path, value):
    assert read(path) == value


@pytest.mark.parametrize(
    "path",
    ["response.body.gone", "response.body.token.x", "response.body.list[3]", "response.headers.gone", "response.cookies.gone",
     "response.gone", "response.status.code", "gone.x", "token.upper", "user.keys", "list.append", "$.gone", "$.list['0']",
     "$['0'][0]", "$.list[9]", "$.list[?@ > 9]", "$..gone", '$["gone"]', "$.token[0]"],
)  # fmt: skip
def test_what_is_not_there_is_absent(path):
    with pytest.raises(Absent) as caught:
        read(path)
    assert caught.value.at


@pytest.mark.parametrize(
    "path",
    [
        "",
        "  ",
        "a..b",
        ".a",
        "a b",
        "response.body.",
        "response..x",
        "$.",
        "$[",
        "$.a[?foo(@)]",
        "$x",
        "a.b|c",
    ],
)
def test_what_is_no_output_path_is_refused_when_it_is_compiled(path):
    with pytest.raises(TemplateError) as caught:
        compile_output(path)
    assert caught.value.code == "output.path"


def test_an_output_keeps_its_source():
    assert compile_output("$..sku").source == "$..sku"
    assert compile_output(" a.b ").source == " a.b "


@pytest.mark.parametrize(
    ("content", "content_type", "value"),
    [
        (b'{"a":1}', "application/json", {"a": 1}),
        (b'{"a":1}', "text/plain", {"a": 1}),
        (b" [1]", "text/html; charset=utf-8", [1]),
        (b'{"a":1}', None, {"a": 1}),
        (b"12", "application/json", 12),
        (b"12", None, 12),
        (b"12", "application/problem+json; charset=utf-8", 12),
        (b"12", "text/plain", "12"),
        (b"12", "application/jsonlines", "12"),
        (b'"00123"', "application/json", "00123"),
        (b"00123", "application/json", "00123"),
        (b"{oops", "application/json", "{oops"),
        (b"NaN", "application/json", "NaN"),
        (b"[Infinity]", "application/json", "[Infinity]"),
        (b"[" * 100_000, "application/json", "[" * 100_000),
        (b"9" * 5000, "application/json", "9" * 5000),
        (b"", "application/json", ""),
        (b"<html>", "text/html", "<html>"),
        ("é".encode("latin-1"), "text/plain; charset=ISO-8859-1", "é"),
        ("é".encode(), 'text/plain; charset="utf-8"', "é"),
        (b"\xe9", "text/plain", "\ufffd"),
        (b"\xe9", "text/plain; charset=nope", "\ufffd"),
        (b"\xe9", "text/plain; charset=rot13", "\ufffd"),
        (b"\xe9", "text/plain; charset=idna", "\ufffd"),
        (b"a", "text/plain; charset=a\0b", "a"),
        (b"\xef\xbb\xbf{}", "application/json", {}),
        (b"\xef\xbb\xbf{}", "application/json; charset=UTF-8", {}),
        ('{"a":"é"}'.encode("utf-16"), "application/json; charset=utf-16", {"a": "é"}),
    ],
)
def test_a_body_is_json_where_it_is_json_and_else_its_text(content, content_type, value):
    headers = (("content-type", content_type),) if content_type else ()
    assert read("response.body", body=content, headers=headers) == value


def test_a_place_in_a_body_that_is_not_json_is_absent():
    for path in ("response.body.a", "a", "$.a", "$..a"):
        with pytest.raises(Absent):
            read(path, body=b"plain", headers=())


def test_a_body_too_deep_to_search_is_absent():
    with pytest.raises(Absent, match="recursion"):
        read("$..a", body=b"[" * 300 + b"]" * 300)


def test_conditions_see_the_answer_as_response():
    scope = Scope().child(response=view().as_scope())
    for source in (
        "response.status === 201",
        "response.body.user.id === 7",
        "response.headers.CONTENT-TYPE === 'application/json'",
        "response.cookies.theme === 'dark'",
    ):
        assert compile_condition(source, response=True).holds(scope)


def test_an_answer_is_decoded_only_once():
    answer = view()
    assert answer.json is answer.json
    assert answer.as_scope()["body"] is answer.json


def test_simple_paths_need_no_jsonpath_library():
    code = (
        "import sys; from runner.core.output import compile_output as c; c('$.a[0]'); c('response.body.x');"
        "print([m for m in ('jsonpath_rfc9535', 'regex') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


paths = st.lists(
    st.sampled_from(
        [
            "response",
            "body",
            ".",
            "status",
            "headers",
            "[0]",
            "['a']",
            "a",
            "$",
            "..",
            "*",
            "[?@.a]",
            "[",
            " ",
        ]
    )
).map("".join)
bodies = st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=3),
    max_leaves=6,
).map(lambda value: json.dumps(value).encode())


@given(paths | st.text(), bodies)
def test_any_path_over_any_body_reads_or_is_absent(path, body):
    try:
        output = compile_output(path)
    except TemplateError:
        return
    try:
        output.read(view(body=body, headers=()))
    except Absent:
        return
