import json
import sys
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import json_document
from runner.core.json_document import load, places, repeated_keys
from runner.errors import FlowError, Place

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


def refused(text, max_depth=200, data=None):
    with pytest.raises(FlowError) as caught:
        load(text, "flow.json", max_depth, data)
    (problem,) = caught.value.problems
    return problem


def everything_in(value):
    """Return the tree of all paths below a value, as `places` takes it."""
    if isinstance(value, dict):
        return {key: everything_in(child) for key, child in value.items()}
    if isinstance(value, list):
        return {str(index): everything_in(child) for index, child in enumerate(value)}
    return {}


def member(value, key):
    return value[int(key)] if isinstance(value, list) else value[key]


def offset(text, place):
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: place.line - 1]) + place.column - 1


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ('{"a" 1}', "document.json_syntax", 1, 6),
        ('{"a": 1}\n x', "document.json_syntax", 2, 2),
        ('{\n "é": tru}', "document.json_syntax", 2, 7),
        ('{"a": "x\ny"}', "document.json_syntax", 1, 9),
        ('{"NaN": "Infinity",\n"b": NaN}', "document.number", 2, 6),
        ("[1, -Infinity]", "document.number", 1, 5),
        ("[1, true, 2.5, 1e999]", "document.number", 1, 16),
        ("[12, " + "9" * 5000 + "]", "document.number", 1, 6),
        ('["\\ud83d\\ude00", "\\ud800"]', "document.surrogate", 1, 18),
        ('["\\ud800\\ud83d\\ude00"]', "document.surrogate", 1, 2),
        ('["\\ude00"]', "document.surrogate", 1, 2),
        ('["\\ud83d\\ude00\\ude00"]', "document.surrogate", 1, 2),
        ('{"a": 1, "\\uDFFF": 2}', "document.surrogate", 1, 10),
        ("[" * 201 + "]" * 201, "document.too_deep", 1, 201),
        ('{"a":' * 100_000, "document.too_deep", 1, 1001),
        ("[" * 100_000, "document.too_deep", 1, 201),
    ],
)
def test_a_text_that_is_no_sound_json_is_refused_at_its_place(text, code, line, column):
    for data in (None, text.encode()):
        problem = refused(text, data=data)
        assert (problem.code, problem.place) == (code, Place("flow.json", line, column))


def test_half_a_character_in_the_text_itself_is_refused():
    assert refused('["\udc80"]').code == "document.surrogate"


@pytest.mark.parametrize("text", ['"\\\\ud800"', '"\\ud83d\\ude00"', '"\\uD83D\\uDE00 \\ud83d\\ude01"'])
def test_whole_surrogate_pairs_and_escaped_backslashes_are_fine(text):
    assert load(text, "", 200) == json.loads(text)


@pytest.mark.parametrize(
    "text", ["[" * 200 + "]" * 200, '{"a":' * 200 + "1" + "}" * 200, '["[[[]", "{{{x}}"]', "1"]
)
def test_nesting_up_to_the_limit_is_fine_and_brackets_in_strings_do_not_count(text):
    assert load(text, "", 200) == json.loads(text)


def test_many_brackets_in_strings_do_not_hide_real_depth():
    brackets = json.dumps("[" * 300)
    assert load(f"[[{brackets}]]", "", 2) == [["[" * 300]]
    assert refused(f"[[{brackets}, []]]", 2).code == "document.too_deep"
    assert refused("[[[]]]", 2).place == Place("flow.json", 1, 3)
    assert load(json.dumps("[]" + "[{" * 150 + "}]" * 150), "", 200).startswith("[]")


def test_a_stack_that_is_nearly_full_is_told_without_a_place():
    limit = sys.getrecursionlimit()
    deep = "[" * 150_000 + "]" * 150_000
    assert refused(deep, max_depth=200_000).place is None
    assert sys.getrecursionlimit() == limit


def test_the_digits_of_whole_numbers_are_kept():
    assert load("[12345678901234567890, 1.5, -0.0]", "", 5) == [12345678901234567890, 1.5, -0.0]


@given(VALUES)
def test_any_json_loads_as_the_standard_library_loads_it(value):
    text = json.dumps(value, ensure_ascii=False)
    assert load(text, "", 200, text.encode()) == load(text, "", 200) == json.loads(text)


@given(VALUES, st.sampled_from([None, 1]))
def test_the_place_of_every_path_is_where_its_value_begins(value, indent):
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    for path, (key, where) in places(text, "f", everything_in(value)).items():
        expected = reduce(member, path, value)
        assert json.JSONDecoder().raw_decode(text, offset(text, where))[0] == expected
        if path:
            assert text[offset(text, key)] == '"' or key == where


@given(VALUES)
def test_every_path_that_exists_is_found(value):
    def count(tree):
        return 1 + sum(map(count, tree.values()))

    wanted = everything_in(value)
    assert len(places(json.dumps(value), "f", wanted)) == count(wanted)


def test_paths_that_do_not_exist_are_absent():
    assert set(places('{"a": [1]}', "f", {"a": {"1": {}, "x": {}}, "b": {}})) == {(), ("a",)}


def test_the_last_of_two_equal_keys_is_the_one_that_is_found():
    found = places('{"a": {"x": 1, "y": 2},\n "a": {"y": 3}}', "f", {"a": {"x": {}, "y": {}}})
    assert found == {
        (): (Place("f", 1, 1), Place("f", 1, 1)),
        ("a",): (Place("f", 2, 2), Place("f", 2, 7)),
        ("a", "y"): (Place("f", 2, 8), Place("f", 2, 13)),
    }


def test_repeated_keys_are_told_with_path_and_place():
    text = '{"b": [{"x": 1}, {"x": "a,{", "y": [1, 2], "x": 2}],\n "a": {"b": 1}, "b": 2, "b": 3}'
    assert list(repeated_keys(text, "f")) == [
        (("b", 1, "x"), Place("f", 1, 44)),
        (("b",), Place("f", 2, 17)),
        (("b",), Place("f", 2, 25)),
    ]


@given(VALUES)
def test_a_value_written_by_a_program_repeats_no_key(value):
    text = json.dumps(value)
    assert list(repeated_keys(text, "f")) == list(json_document._repeated(text)) == []
