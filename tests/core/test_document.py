import json
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.core import document
from runner.core.document import Document, join, parse, split
from runner.errors import FlowError, Place, Problem

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


def refused(data, **options):
    with pytest.raises(FlowError) as caught:
        parse(data, **options)
    (problem,) = caught.value.problems
    return problem


def paths_of(value, path=""):
    yield path, value
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in pairs:
        yield from paths_of(child, join(path, key))


@pytest.mark.parametrize(
    ("data", "name", "shown"),
    [
        (b"", "f.json", "f.json:1:1 the document is empty"),
        (b"\xef\xbb\xbf \n", "f.yaml", "f.yaml:1:1 the document is empty"),
        (
            b'{"a":\n"\xc3\xa9\xff"}',
            "f.json",
            "f.json:2:3 the document is not UTF-8 (byte 0xff); save it as UTF-8",
        ),
        (
            b"\xff\xfe{\x00}\x00",
            "f.json",
            "f.json:1:1 the document is not UTF-8 (byte 0xff); save it as UTF-8",
        ),
        (b" [1]", "f.json", "f.json:1:2 the document must be an object, in braces, and is a list"),
        (b"- 1", "f.yml", "f.yml:1:1 the document must be an object, in braces, and is a list"),
        (b"7", "f.json", "f.json:1:1 the document must be an object, in braces, and is a number"),
        (b"a: [", "f.yaml", "f.yaml:2:1 YAML syntax error: did not find expected node content"),
        (b'{"a" 1}', "f.json", "f.json:1:6 JSON syntax error: expecting ':' delimiter"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused_with_one_line(data, name, shown):
    problem = refused(data, name=name)
    assert str(problem) == shown


def test_a_document_over_the_size_limit_is_refused():
    assert refused(b'{"a": 1}', max_bytes=7) == Problem(
        "document.too_large", "", "the document has 8 bytes and the limit is 7; split it or raise the limit"
    )
    assert parse(b'{"a": 1}', max_bytes=8).value == {"a": 1}


@pytest.mark.parametrize(
    ("data", "name", "form"),
    [
        (b'{"a": 1}', "flow.json", "json"),
        (b'{"a": 1}', "FLOW.JSON", "json"),
        (b'{"a": 1}', "flow.yaml", "yaml"),
        (b'\xef\xbb\xbf\n {"a": 1}', "", "json"),
        (b'{"a": 1}', "flow", "json"),
        (b"a: 1", "-", "yaml"),
        (b"\xef\xbb\xbfa: 1", "flow.yml", "yaml"),
    ],
)
def test_json_and_yaml_are_told_apart_by_name_and_else_by_content(data, name, form):
    read = parse(data, name=name)
    assert (read.value, read.form, read.name, read.data) == ({"a": 1}, form, name, data)


def test_a_hundred_thousand_levels_do_not_crash_the_process():
    code = """
from runner.core.document import parse
from runner.errors import FlowError
for name in "f.json", "f.yaml":
    for opening in "[", '{"a":', "- ", "a: [", "{a: ", "? ", "[{":
        try:
            parse(opening.encode() * 100_000, name=name)
        except FlowError as error:
            print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 14
    assert all(line.startswith("f.") for line in lines)
    assert sum("nested more than 200 deep" in line for line in lines) == 7


def test_repeated_keys_are_warnings_and_the_last_one_wins():
    for data, name in [(b'{"s": [{"a-b": 1,\n "a-b": 2}]}', "f.json"), (b"s:\n- a-b: 1\n  a-b: 2", "f.yaml")]:
        read = parse(data, name=name)
        (warning,) = read.warnings
        assert read.value == {"s": [{"a-b": 2}]}
        assert (warning.code, warning.where, warning.severity) == (
            "document.duplicate_key",
            "s[0].a-b",
            "warning",
        )
        assert warning.place == Place(name, 3 if name == "f.yaml" else 2, 3 if name == "f.yaml" else 2)
        assert read.warnings is read.warnings


def test_a_document_without_repeated_keys_has_no_warnings():
    assert (
        parse(b'{"a": {"a": 1}}').warnings == parse(b"a: {a: 1}").warnings == Document.of({}).warnings == ()
    )


@pytest.mark.parametrize(
    ("path", "value_at", "key_at"),
    [
        ("", (1, 1), (1, 1)),
        ("a", (2, 7), (2, 2)),
        ("a['odd key']", (3, 12), (3, 2)),
        ("a['odd key'][1].x", (3, 21), (3, 16)),
        ("a['odd key'].1.x", (3, 21), (3, 16)),
        ("a['odd key'][7].x", (3, 12), (3, 12)),
        ("a['odd key'][1].y.z", (3, 15), (3, 15)),
        ("a ~ nonsense", (2, 7), (2, 2)),
        ("row.steps[0]", (4, 9), (4, 9)),
        ("missing", (1, 1), (1, 1)),
    ],
)
def test_a_path_is_located_or_else_its_nearest_ancestor(path, value_at, key_at):
    text = '{\n "a": {\n "odd key":[1,{"x": 2}]},\n "row": "{\\"steps\\": []}"}'
    read = parse(text.encode(), name="f.json")
    assert read.locate(path) == Place("f.json", *value_at)
    assert read.locate(path, key=True) == Place("f.json", *key_at)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), st.sampled_from([None, 2]))
def test_every_path_of_a_document_points_at_its_value(value, indent):
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    read = parse(text.encode(), name="f.json")
    expected = dict(paths_of(value))
    starts = [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]
    for problem in read.located([Problem("x", path, "") for path in expected]):
        at = starts[problem.place.line - 1] + problem.place.column - 1
        assert json.JSONDecoder().raw_decode(text, at)[0] == expected[problem.where]


@given(st.lists(st.text(st.characters()) | st.integers(min_value=0), max_size=5))
def test_a_joined_path_is_printable_and_splits_into_its_keys(keys):
    path = ""
    for key in keys:
        path = join(path, key)
    assert split(path) == tuple(map(str, keys))
    path.encode()
    assert not set(path) & set("\n\r\x1b\x00\u2028")


@given(st.text())
@example("a.b[1]['it\\'s'].c-d")
def test_any_text_splits_into_some_keys(path):
    assert isinstance(split(path), tuple)


def test_paths_have_one_spelling():
    assert join(join(join("", "steps"), 1), "odd key") == "steps[1]['odd key']"
    assert join("a", "it's\\") == "a['it\\'s\\\\']"
    assert join("a", "") == "a['']"
    assert join("", "\n") == r"['\u000a']"
    assert split("a.b[1]['odd key'].c") == ("a", "b", "1", "odd key", "c")


def test_many_problems_get_their_places_in_one_pass():
    read = parse(b'{"a": [1,\n 2]}', name="f.json")
    known = Problem("x", "a", "known", place=Place("g", 9, 9))
    problems = read.located([Problem("x", "a[1]", "one"), known, Problem("x", "b", "two")])
    assert [problem.place for problem in problems] == [
        Place("f.json", 2, 2),
        Place("g", 9, 9),
        Place("f.json", 1, 1),
    ]
    assert read.located([]) == ()


def test_yaml_is_located_too_even_where_aliases_are_many():
    read = parse(b"a: &x [1, 2]\nb:\n  c: *x\n", name="f.yaml")
    assert read.locate("a[1]") == Place("f.yaml", 1, 11)
    assert read.locate("b.c", key=True) == Place("f.yaml", 3, 3)
    assert read.locate("b.c[1]") == Place("f.yaml", 3, 6)


def test_json_inside_a_text_is_read_with_the_place_of_that_text():
    read = parse(b'{"id": 1,\n "flow_data": "{}"}', name="row.json")
    inner = read.embedded("flow_data", '{"steps": [1], "steps": [{"id": "a", "id": "b"}]}')
    assert inner.value == {"steps": [{"id": "b"}]}
    assert inner.locate("steps[0].id") == Place("row.json", 2, 15)
    assert [(warning.where, warning.place) for warning in inner.warnings] == [
        ("flow_data.steps", Place("row.json", 2, 15)),
        ("flow_data.steps[0].id", Place("row.json", 2, 15)),
    ]
    assert read.embedded("flow_inputs", "[]").value == []


def test_a_text_that_does_not_hold_json_is_told_with_both_positions():
    read = parse(b'{"flow_data": "{"}', name="row.json")
    with pytest.raises(FlowError) as caught:
        read.embedded("flow_data", '{\n "a" 1}')
    (problem,) = caught.value.problems
    assert problem.code == "document.json_syntax"
    assert problem.where == "flow_data"
    assert problem.place == Place("row.json", 1, 15)
    assert "line 2, column 6" in problem.what
    with pytest.raises(FlowError, match="nested more than 200 deep"):
        read.embedded("flow_data", "[" * 100_000)
    with pytest.raises(FlowError) as caught:
        Document.of({}, max_depth=300_000).embedded("flow_data", "[" * 150_000)
    assert "line" not in caught.value.problems[0].what


def test_a_value_of_python_is_a_document_without_places():
    read = Document.of({"a": [1, 2.5, None, True, "x"]}, "flow")
    assert (read.value["a"][0], read.name, read.data) == (1, "flow", None)
    assert read.locate("a[0]") is None
    assert read.located([Problem("x", "a", "one")])[0].place is None


def test_a_python_value_that_json_cannot_hold_is_refused_with_every_path():
    bad = {
        "a": [1, {2}],
        3: 1,
        "n": float("nan"),
        "t": (1,),
        "s": "\ud800",
        "\udfff": 1,
        "b": {"x": b""},
        None: 1,
    }
    with pytest.raises(FlowError) as caught:
        Document.of(bad)
    assert [(problem.code, problem.where) for problem in caught.value.problems] == [
        ("document.not_json", "a[1]"),
        ("document.not_json", "3"),
        ("document.number", "n"),
        ("document.not_json", "t"),
        ("document.surrogate", "s"),
        ("document.surrogate", r"['\udfff']"),
        ("document.not_json", "b.x"),
        ("document.not_json", "None"),
    ]
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("value", "code"), [([], "document.not_object"), ({1}, "document.not_json"), (1.5, "document.not_object")]
)
def test_a_python_value_that_is_no_object_is_refused(value, code):
    with pytest.raises(FlowError) as caught:
        Document.of(value)
    assert [problem.code for problem in caught.value.problems] == [code]


def nested(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_python_values_are_bounded_in_depth_and_cycles_end():
    assert Document.of(nested(200)).value
    cycle = []
    cycle += [cycle, cycle]
    for value in (nested(201), nested(100_000), {"a": cycle}):
        with pytest.raises(FlowError, match="nested more than 200 deep"):
            Document.of(value)


def test_parts_that_are_shared_many_times_are_looked_at_once():
    shared = ["x"]
    for _ in range(150):
        shared = [shared, shared]
    assert Document.of({"a": shared}).value["a"] is shared


@given(
    st.binary(max_size=200)
    | st.text(st.sampled_from("{}[]:,\"'\\ud8000aé-&*!|>%#\n\t 1.e"), max_size=60).map(str.encode)
)
@example(b"\xef\xbb\xbf")
@example(b"&a ? *a")
@pytest.mark.parametrize("name", ["f.json", "f.yaml", ""])
def test_any_bytes_are_a_document_or_a_flow_error(name, data):
    try:
        read = parse(data, name=name)
    except FlowError as error:
        (problem,) = error.problems
        assert "\n" not in str(problem)
        str(problem).encode()
    else:
        json.dumps(read.value, allow_nan=False).encode()
        assert all(read.locate(path) for path, _ in paths_of(read.value))
        assert all(warning.place for warning in read.warnings)


def test_the_limits_are_those_of_the_design():
    assert (document.MAX_BYTES, document.MAX_DEPTH) == (20 * 1024 * 1024, 200)


def test_reading_json_does_not_import_yaml():
    code = "import sys; from runner.core.document import parse; parse(b'{}'); print('yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_document_forgets_its_value_only_when_it_has_its_text():
    parsed, given = parse(b'{"a": 1}', name="x.json"), Document.of({"a": 1})
    parsed.forget()
    given.forget()
    assert parsed.value is None
    assert parsed.locate("a").column == 7
    assert given.value == {"a": 1}
