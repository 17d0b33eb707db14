import json
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.text import MAX_TEXT, close_match, measure, to_json, to_text
from runner.errors import StepError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("00123", "00123"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-7, "-7"),
        (1.5, "1.5"),
        (2.0, "2.0"),
        (2**70, str(2**70)),
        ({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'),
        ([], "[]"),
    ],
)
def test_a_value_in_text_is_written_as_json_writes_it_and_a_string_as_it_is(value, text):
    assert to_text(value) == text


def test_null_has_no_text_but_is_json():
    with pytest.raises(StepError) as caught:
        to_text(None)
    assert caught.value.code == "template.null"
    assert to_json(None) == "null"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**5000], ids=["nan", "infinity", "huge"])
def test_a_number_that_json_cannot_hold_is_refused(value):
    with pytest.raises(StepError) as caught:
        to_text(value)
    assert caught.value.code == "template.value"


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {2}}, [object()], [b"x"]])
def test_what_is_not_json_is_refused(value):
    with pytest.raises(StepError) as caught:
        to_json(value)
    assert caught.value.code == "template.value"


@pytest.mark.parametrize("value", ["a" * 11, ["a" * 11], {"a" * 11: 1}, [[]] * 3])
def test_a_value_above_the_limit_is_refused_by_name(value):
    with pytest.raises(StepError) as caught:
        to_json(value, 10)
    assert caught.value.code == "limit.text"
    assert "10 characters" in caught.value.message


def test_a_small_graph_of_shared_parts_that_is_endless_as_text_is_refused_at_once():
    value = ["x"]
    for _ in range(100):
        value = [value, value]
    with pytest.raises(StepError) as caught:
        measure(value, MAX_TEXT)
    assert caught.value.code == "limit.text"


def test_a_value_nested_too_deeply_is_refused_by_name():
    value = []
    for _ in range(sys.getrecursionlimit() * 2):
        value = [value]
    with pytest.raises(StepError) as caught:
        measure(value, MAX_TEXT)
    assert caught.value.code == "limit.depth"


@given(JSON)
def test_json_text_says_what_the_value_was(value):
    assert json.loads(to_json(value)) == value


@given(st.lists(st.text(), max_size=5), st.dictionaries(st.text(), st.text(), max_size=5))
def test_a_measure_counts_at_least_every_character(texts, named):
    characters = sum(map(len, [*texts, *named, *named.values()]))
    assert measure([texts, named], MAX_TEXT) >= characters


@pytest.mark.parametrize(
    ("name", "names", "hint"),
    [
        ("usernme", ["email", "username"], "; did you mean 'username'?"),
        ("userid", ["user-id", "userId"], "; did you mean 'userId'?"),
        ("a", ["a"], ""),
        ("zzz", ["username"], ""),
        ("zzz", ["abc"], ""),
        ("", ["a"], ""),
        ("a", [], ""),
    ],
)
def test_a_hint_names_the_nearest_name_or_says_nothing(name, names, hint):
    assert close_match(name, names) == hint


def test_thousands_of_wrong_names_do_not_take_long_to_tell():
    names = [f"customer-{number}" for number in range(3000)]
    began = time.process_time()
    for number in range(1000):
        assert "did you mean" in close_match(f"custmer-{number}", names)
    assert time.process_time() - began < 8  # letter by letter it took half a minute
