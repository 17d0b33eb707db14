import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runner.core import json_document
from runner.core.yaml_document import load
from runner.errors import FlowError, Place

PLAIN = st.text(
    st.characters(
        min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\x85", exclude_categories=["Cc"]
    ),
    max_size=6,
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PLAIN
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN, inner, max_size=4)
)


def read(text, max_depth=200, max_size=1000):
    return load(text, "flow.yaml", max_depth, max_size, {})[0]


def refused(text, **limits):
    with pytest.raises(FlowError) as caught:
        read(text, **limits)
    (problem,) = caught.value.problems
    return problem


@pytest.fixture(params=["C", "Python"])
def parser(request, monkeypatch):
    """Run a test with libyaml, and as on a machine without it."""
    if request.param == "Python":
        monkeypatch.delattr(yaml, "CSafeLoader")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[no, on, yes, y, off]", ["no", "on", "yes", "y", "off"]),
        ("[true, True, FALSE, tRue]", [True, True, False, "tRue"]),
        ("[~, null, NULL, '', 'null']", [None, None, None, "", "null"]),
        (
            "[0123, 00, -01, 1_000, 12:30:45, 2024-01-01]",
            ["0123", "00", "-01", "1_000", "12:30:45", "2024-01-01"],
        ),
        ("[0, -0, +5, 42, 0x1F, 0o17, 12345678901234567890]", [0, 0, 5, 42, 31, 15, 12345678901234567890]),
        (
            "[1.5, .5, 1., 1e3, -2E-2, 1.0.0, 1e, ., '1.5']",
            [1.5, 0.5, 1.0, 1000.0, -0.02, "1.0.0", "1e", ".", "1.5"],
        ),
        ("{1: a, true: b, ~: c, 0x1: d}", {"1": "a", "true": "b", "~": "c", "0x1": "d"}),
        (
            "a: !!str 1\nb: ! 2\nc: !!int '3'\nd: !!null ''\ne: !!map {}\nf: !!seq []",
            {"a": "1", "b": "2", "c": 3, "d": None, "e": {}, "f": []},
        ),
        ("a: |\n  x\n  y\nb:", {"a": "x\ny\n", "b": None}),
        ("x: &a {k: [1]}\ny: *a\nz: *a", {"x": {"k": [1]}, "y": {"k": [1]}, "z": {"k": [1]}}),
        ("x: &a 1\ny: &a 2\nz: *a", {"x": 1, "y": 2, "z": 2}),
        ("&k x: 1\ny: *k", {"x": 1, "y": "x"}),
        ("b: &b {p: 1, q: 2}\nc:\n  p: 9\n  <<: *b", {"b": {"p": 1, "q": 2}, "c": {"p": 9, "q": 2}}),
        ("<<: [{p: 1}, {p: 2, q: 3}]\nr: 4", {"r": 4, "p": 1, "q": 3}),
        ("<<: text", {"<<": "text"}),
        ("<<: []", {"<<": []}),
        ("'<<': {a: 1}", {"<<": {"a": 1}}),
        ('"\\u00e9": "\\U0001F600"', {"é": "😀"}),
        ("plain", "plain"),
    ],
)
@pytest.mark.usefixtures("parser")
def test_a_yaml_text_means_what_it_says(text, value):
    assert json.dumps(read(text)) == json.dumps(value)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\n---\nb: 2", "document.yaml_documents", 2, 1),
        ("a: b: c", "document.yaml_syntax", 1, 5),
        ("a: [1,\n", "document.yaml_syntax", 2, 1),
        ('é: 1\nb: "\x00"', "document.yaml_syntax", 2, 5),
        ("a: [&x [*x]]", "document.yaml_alias", 1, 9),
        ("a: *x", "document.yaml_alias", 1, 4),
        ("a: !foo 1", "document.yaml_tag", 1, 4),
        ("a: !!int x", "document.yaml_tag", 1, 4),
        ("a: !!python/object:os.system {}", "document.yaml_tag", 1, 4),
        ("a: !!set {}", "document.yaml_tag", 1, 4),
        ("? {a: 1}\n: 2", "document.yaml_key", 1, 3),
        ("? [a]\n: 2", "document.yaml_key", 1, 3),
        ("a: &a 1\n*a : 2", "document.yaml_key", 2, 1),
        ("a: .nan", "document.number", 1, 4),
        ("a: -.INF", "document.number", 1, 4),
        ("a: 1e999", "document.number", 1, 4),
        ("a: " + "9" * 4001, "document.number", 1, 4),
        ("a: 0x" + "f" * 4000, "document.number", 1, 4),
        ("[" * 201, "document.too_deep", 1, 201),
        ("a: &x " + "[" * 150 + "]" * 150 + "\nb: " + "[" * 60 + "*x" + "]" * 60, "document.too_deep", 2, 64),
    ],
)
@pytest.mark.usefixtures("parser")
def test_a_text_that_is_no_sound_yaml_is_refused_at_its_place(text, code, line, column):
    problem = refused(text)
    assert (problem.code, problem.place.line, problem.place.column) == (code, line, column)
    assert problem.place.file == "flow.yaml"


@pytest.mark.parametrize("text", ['a: "\\ud800"', '"\\udfff": 1'])
@pytest.mark.usefixtures("parser")
def test_half_a_character_is_refused(text):
    assert refused(text).code in ("document.surrogate", "document.yaml_syntax")


@pytest.mark.parametrize("text", ["", "# only a comment\n"])
def test_a_text_without_a_document_is_empty(text):
    assert refused(text).code == "document.empty"


@pytest.mark.parametrize("part", ["[", "- ", "{a: ", "? ", "[{"])
def test_a_hundred_thousand_levels_end_in_one_problem(part):
    assert refused(part * 100_000).code in ("document.too_deep", "document.yaml_key")


def test_a_bomb_of_aliases_is_refused_before_it_explodes():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 100)]
    assert refused("\n".join(lines), max_size=1_000_000).code == "document.yaml_alias"


def test_a_long_text_repeated_by_aliases_counts_with_its_length():
    text = f"a: &a {'x' * 100}\nb: [{', '.join(['*a'] * 9)}]"
    assert read(text)["b"] == ["x" * 100] * 9
    assert refused(text.replace("*a]", "*a, *a]")).code == "document.yaml_alias"


def test_thousands_of_tag_directives_are_refused():
    text = "\n".join(f"%TAG !t{i}! x" for i in range(101)) + "\n--- {}"
    assert refused(text).code == "document.yaml_tag"


def test_repeated_keys_are_told_with_path_and_place_and_the_last_one_wins():
    value, repeated, _ = load("a: 1\nb:\n - {}\n - x: 1\n   x: 2\na: 2\n", "f", 200, 0, {})
    assert value == {"a": 2, "b": [{}, {"x": 2}]}
    assert repeated == [(("b", 1, "x"), Place("f", 5, 4)), (("a",), Place("f", 6, 1))]


def test_places_are_those_of_keys_and_values():
    text = "a:\n  - x: 1\n    y: &k [2]\nb: *k\na:\n  - y: 3\n"
    wanted = {"a": {"0": {"x": {}, "y": {}, "z": {}}, "7": {}}, "b": {"0": {}}}
    assert load(text, "f", 200, 100, wanted)[2] == {
        (): (Place("f", 1, 1), Place("f", 1, 1)),
        ("a",): (Place("f", 5, 1), Place("f", 6, 3)),
        ("a", "0"): (Place("f", 6, 5), Place("f", 6, 5)),
        ("a", "0", "y"): (Place("f", 6, 5), Place("f", 6, 8)),
        ("b",): (Place("f", 4, 1), Place("f", 4, 4)),
    }


def tree(value):
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {str(key): tree(child) for key, child in pairs}


@given(VALUES)
def test_json_read_as_yaml_has_the_same_value_and_the_same_places(value):
    text = json.dumps(value, indent=1, ensure_ascii=False)
    read_value, repeated, found = load(text, "f", 200, 0, tree(value))
    assert (read_value, repeated) == (value, [])
    assert found == json_document.places(text, "f", tree(value))


@given(VALUES)
def test_what_another_writer_writes_is_read_back(value):
    assert read(yaml.dump(value, Dumper=yaml.CSafeDumper, allow_unicode=True), max_size=10**6) == value
