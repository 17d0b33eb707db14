import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.reference import (
    FieldsAnyCase,
    Missing,
    Reference,
    TemplateError,
    entry,
    parse_path,
    spell,
    walk,
)


@pytest.mark.parametrize(
    ("text", "root", "path"),
    [
        ("input.x", "input", ("x",)),
        ("  input.x ", "input", ("x",)),
        ("baseUrl", "baseUrl", ()),
        ("headers.X-Request-ID", "headers", ("X-Request-ID",)),
        ("a.b-c", "a", ("b-c",)),
        ("my-step.x", "my-step", ("x",)),
        ("order.items[0].sku", "order", ("items", 0, "sku")),
        ("order[-1]", "order", (-1,)),
        ("order.items.0", "order", ("items", "0")),
        ("a.b['c d'][\"e'f\"]", "a", ("b", "c d", "e'f")),
        ("a['']", "a", ("",)),
        ("$uuid", "$uuid", ()),
        ("a.$b", "a", ("$b",)),
        ("true.x", "true", ("x",)),
        ("x.items", "x", ("items",)),
    ],
)
def test_a_path_is_read_into_its_root_and_segments(text, root, path):
    assert parse_path(text) == Reference(text.strip(), root, path)


@pytest.mark.parametrize(
    "text",
    ["", " ", "a.b - c", "a b", "1", "1.5", "a.", ".a", "a..b", "a[", "a[x]", "a[1", "a['b]", "a|upper", "a()",
     "true", "false", "null", "none", "True", "False", "None", "not", "a[12345678901]", "é.x", "a.é", "a\n.b", "[0]"],
)  # fmt: skip
def test_what_is_not_wholly_a_path_is_none(text):
    assert parse_path(text) is None


@pytest.mark.parametrize(
    "text", ["a" * 50_000, "a" + ".b" * 50_000 + "!", "a['" * 20_000, "a" + "[0]" * 30_000 + "["]
)
def test_a_long_text_is_read_in_linear_time(text):
    parse_path(text)


@pytest.mark.parametrize(
    ("value", "path", "found"),
    [
        ({"items": 1}, ("items",), 1),
        ({"keys": {"get": 2}}, ("keys", "get"), 2),
        ([10, 20], (1,), 20),
        ([10, 20], (-1,), 20),
        ([10, 20], ("1",), 20),
        ({"0": "a"}, (0,), "a"),
        ({"0": "a"}, ("0",), "a"),
        ({"a": None}, ("a",), None),
        (FieldsAnyCase([("X-Id", "7")]), ("x-iD",), "7"),
        ("text", (), "text"),
    ],
)
def test_a_walk_reaches_items(value, path, found):
    assert walk(value, path) == found


@pytest.mark.parametrize(
    ("value", "path", "at"),
    [
        ({}, ("items",), ".items"),
        ({}, ("__class__",), ".__class__"),
        ([], ("append",), ".append"),
        ([1], (1,), "[1]"),
        ([1], (-2,), "[-2]"),
        ([1], ("-1",), "['-1']"),
        ([1], ("²",), "['²']"),
        ("text", (0,), "[0]"),
        ("text", ("upper",), ".upper"),
        (None, ("a",), ".a"),
        ({"a": {"b c": 1}}, ("a", "b c", "d"), ".a['b c'].d"),
    ],
)
def test_a_walk_that_leads_nowhere_says_where_it_ended(value, path, at):
    with pytest.raises(Missing) as caught:
        walk(value, path)
    assert caught.value.at == at


def test_an_entry_of_something_without_entries_is_a_key_error():
    with pytest.raises(KeyError):
        entry(3, "a")


def test_a_template_error_says_what_and_where():
    error = TemplateError("template.empty", "nothing here", 3)
    assert (error.code, error.message, error.offset, str(error)) == (
        "template.empty",
        "nothing here",
        3,
        "nothing here",
    )


names = st.from_regex(r"\A[A-Za-z0-9_$][A-Za-z0-9_$-]*\Z")
keys = (
    names
    | st.integers(-999, 999)
    | st.text(st.characters(exclude_characters="'\"\\", exclude_categories=["C", "Z"]), min_size=1)
)


@given(st.lists(keys, max_size=5))
def test_spelling_a_path_and_reading_it_again_gives_the_same_path(path):
    found = parse_path(spell("root", path))
    assert found is not None
    assert found.path == tuple(path)


@given(st.text())
def test_any_text_is_a_path_or_not(text):
    found = parse_path(text)
    assert found is None or found.text == text.strip()
