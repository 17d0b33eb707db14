from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.url import Component, advance, components, encode, origin_of
from runner.errors import StepError

START, USERINFO, HOST, PATH, QUERY, FRAGMENT = Component


@pytest.mark.parametrize(
    ("start", "text", "component"),
    [
        (START, "https://", HOST),
        (START, " HTTPS://api.", HOST),
        (START, "//cdn.", HOST),
        (START, "https://h/a", PATH),
        (START, "https://h?a", QUERY),
        (START, "https://h#a", FRAGMENT),
        (START, "https://h\\a", PATH),
        (START, "/a", PATH),
        (START, "a", PATH),
        (START, "/a?u=http://b/", QUERY),
        (START, "mailto:x", PATH),
        (HOST, ".example.com", HOST),
        (HOST, ".example.com/a?b#c", FRAGMENT),
        (PATH, "/b", PATH),
        (PATH, "?x=", QUERY),
        (PATH, "#x?y", FRAGMENT),
        (PATH, "?x#y", FRAGMENT),
        (QUERY, "&x=/?", QUERY),
        (QUERY, "#", FRAGMENT),
        (FRAGMENT, "/?#", FRAGMENT),
    ],
)
def test_a_literal_leads_on_to_a_component(start, text, component):
    assert advance(start, text) is component


VALUE = object()


@pytest.mark.parametrize(
    ("pieces", "start", "found"),
    [
        (
            ("https://", VALUE, ".x/", VALUE, "?q=", VALUE, "#", VALUE),
            START,
            (HOST, HOST, PATH, PATH, QUERY, QUERY, FRAGMENT, FRAGMENT),
        ),
        (("https://", VALUE, ":", VALUE, "@h/"), START, (HOST, USERINFO, HOST, USERINFO, PATH)),
        (("https://", VALUE, "/a@b"), START, (HOST, HOST, PATH)),
        (("https://", VALUE), START, (HOST, HOST)),
        ((VALUE, "x"), START, (PATH, PATH)),
        ((VALUE,), QUERY, (QUERY,)),
    ],
)
def test_each_piece_stands_in_a_component(pieces, start, found):
    assert components(pieces, start) == found


@pytest.mark.parametrize("component", [USERINFO, PATH, QUERY, FRAGMENT])
def test_a_value_cannot_leave_its_component(component):
    assert encode("a/b?c&d=e#f+g %é:@\\", component, "x") == "a%2Fb%3Fc%26d%3De%23f%2Bg%20%25%C3%A9%3A%40%5C"
    assert encode("aZ09-._~", component, "x") == "aZ09-._~"


def test_a_value_that_is_encoded_already_is_not_encoded_again():
    assert encode("a%20b", QUERY, "x", encoded=True) == "a%20b"


@pytest.mark.parametrize("text", ["prod", "eu-1.prod", "127.0.0.1", "8080", "my_service", "a" * 63])
def test_labels_may_stand_in_the_host(text):
    assert encode(text, HOST, "x") == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a/b", "'/'"),
        ("u@h", "'@'"),
        ("a#b", "'#'"),
        ("h:80", "':'"),
        ("a\\b", "'\\\\'"),
        ("a b", "' '"),
        ("a%2Fb", "'%'"),
        ("a?b", "'?'"),
        ("℀", "'℀'"),
        ("a\n", "'\\n'"),
        ("", "empty"),
        ("a..b", "empty label"),
        (".a", "empty label"),
        ("a" * 64, "too long"),
        (".".join(["a" * 60] * 5), "too long"),
    ],
)
def test_what_is_no_label_is_refused_in_the_host(text, seen):
    with pytest.raises(StepError) as caught:
        encode(text, HOST, "{{input.environment}}", encoded=True)
    assert caught.value.code == "url.host"
    assert caught.value.message.startswith("{{input.environment}} stands in the host")
    assert seen in caught.value.message


@pytest.mark.parametrize("text", [".", ".."])
def test_a_dot_segment_is_refused_in_the_path_only(text):
    with pytest.raises(StepError) as caught:
        encode(text, PATH, "x")
    assert caught.value.code == "url.path"
    assert encode(text, QUERY, "x") == text


def test_half_a_character_cannot_be_encoded():
    with pytest.raises(StepError) as caught:
        encode("\ud800", PATH, "x")
    assert caught.value.code == "template.encoding"


# --- origin --------------------------------------------------------------------------------------


def test_an_origin_is_scheme_host_and_port():
    assert origin_of("HTTPS://U:p@H.example/x") == ("https", "h.example", 443)
    assert origin_of("http://[::1]:81") == ("http", "::1", 81)


@given(st.one_of(st.text(), st.text("htps:/.@[]#?\\%0x\t\n", max_size=20).map("http:".__add__)))
def test_an_origin_is_what_the_whole_url_has_as_one(url):
    try:
        parts = urlsplit(url)
        expected = (parts.scheme, parts.hostname, parts.port)
    except ValueError:
        expected = ("", None, None)
    if expected[0] in ("http", "https") and expected[1] and expected[2] != 0:
        assert origin_of(url) == (*expected[:2], expected[2] or {"http": 80, "https": 443}[expected[0]])
    else:
        with pytest.raises(ValueError):  # noqa: PT011 - what says so is the url
            origin_of(url)
