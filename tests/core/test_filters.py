import pytest

from runner.core.filters import FILTERS, NO_VALUE, TESTS, Allowance, binary, concat, kind
from runner.errors import StepError

LIMIT = 1000


def apply(name, *values, **named):
    return FILTERS[name](Allowance(LIMIT), *values, **named)


def compute(left, operator, right):
    return binary(Allowance(LIMIT), operator, left, right)


def refused(call, *values, **named):
    with pytest.raises(StepError) as caught:
        call(*values, **named)
    return caught.value.code


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (True, "boolean"),
        (1, "number"),
        (1.5, "number"),
        ("a", "text"),
        ([], "list"),
        ({}, "object"),
        (None, "null"),
    ],
)
def test_a_kind_is_the_json_type(value, word):
    assert kind(value) == word


@pytest.mark.parametrize(
    ("left", "operator", "right", "result"),
    [
        (1, "+", 2, 3),
        (5, "-", 7, -2),
        (3, "*", 1.5, 4.5),
        (7, "/", 2, 3.5),
        (7, "//", 2, 3),
        (7, "%", 4, 3),
        ("ab", "+", "c", "abc"),
        ([1], "+", [2], [1, 2]),
        ("ab", "*", 3, "ababab"),
        ([1], "*", 2, [1, 1]),
        ("ab", "*", -1, ""),
    ],
)
def test_arithmetic_is_that_of_numbers_texts_and_lists(left, operator, right, result):
    assert compute(left, operator, right) == result


@pytest.mark.parametrize(
    ("left", "operator", "right"),
    [
        (1, "+", "2"),
        ("a", "+", [1]),
        ("%s", "%", 1),
        ("%1000000d", "%", 1),
        (True, "+", 1),
        (None, "-", 1),
        (2, "*", "a"),
        ("a", "*", 1.5),
        ({}, "+", {}),
        (1, "/", 0),
        (1, "//", 0),
        (1.0, "%", 0),
        (10**400, "*", 1.5),
        (1e308, "*", 10),
    ],
)
def test_what_cannot_be_computed_is_an_error_and_not_a_guess(left, operator, right):
    assert refused(compute, left, operator, right) == "template.value"


def test_adding_unlike_kinds_names_the_operator_that_joins_texts():
    with pytest.raises(StepError, match="join texts with ~"):
        compute("a", "+", 1)


@pytest.mark.parametrize(
    ("left", "operator", "right"),
    [
        ("a", "*", LIMIT + 1),
        ("a", "*", 10**12),
        ([1], "*", 10**12),
        ("a" * 600, "+", "a" * 600),
        ([0] * 200, "+", [0] * 200),
        (2**8000, "*", 2**8000),
    ],
)
def test_a_result_above_the_limit_is_refused(left, operator, right):
    assert refused(compute, left, operator, right) == "limit.text"


def test_all_parts_of_one_evaluation_together_have_a_limit():
    allowance = Allowance(LIMIT)
    for _ in range(16):
        allowance.take(LIMIT)
    assert refused(allowance.take, 1) == "limit.text"
    assert refused(Allowance(LIMIT).reserve, LIMIT * 5) == "limit.text"


@pytest.mark.parametrize(
    ("name", "values", "result"),
    [
        ("lower", ["AbC"], "abc"),
        ("upper", [True], "TRUE"),
        ("trim", ["  a "], "a"),
        ("trim", ["--a-", "-"], "a"),
        ("length", ["abc"], 3),
        ("length", [[1, 2]], 2),
        ("length", [{"a": 1}], 1),
        ("first", [[1, 2]], 1),
        ("last", [[1, 2]], 2),
        ("first", ["abc"], "a"),
        ("join", [[1, True, "x"]], "1truex"),
        ("join", [[1, 2], ", "], "1, 2"),
        ("replace", ["aaa", "a", "b"], "bbb"),
        ("replace", ["aaa", "a", "b", 2], "bba"),
        ("replace", ["aaa", "a", "", -1], "aaa"),
        ("replace", ["ab", "", "-"], "-a-b-"),
        ("int", ["42"], 42),
        ("int", [" -7 "], -7),
        ("int", ["1e3"], 1000),
        ("int", [42.9], 42),
        ("int", [True], 1),
        ("int", ["x", 5], 5),
        ("int", [None, 5], 5),
        ("int", ["1" * 5000, 5], 5),
        ("int", [float("nan"), 5], 5),
        ("int", [float("inf"), 5], 5),
        ("int", [10**400], 10**400),
        ("float", ["1.5"], 1.5),
        ("float", [2], 2.0),
        ("float", ["x", None], None),
        ("float", [10**400, 0], 0),
        ("string", [{"a": 1}], '{"a":1}'),
        ("tojson", ['a"b'], '"a\\"b"'),
        ("tojson", [None], "null"),
        ("b64encode", ["user:pass"], "dXNlcjpwYXNz"),
        ("b64encode", ["é"], "w6k="),
        ("urlencode", ["a b/c&d"], "a%20b%2Fc%26d"),
        ("sort", [[3, 1, 2]], [1, 2, 3]),
        ("sort", [["b", "A", "c"]], ["A", "b", "c"]),
        ("sort", [[]], []),
        ("unique", [["a", "A", "b"]], ["a", "b"]),
        ("unique", [[1, 1.0, 1.5, True, "1", None, [1], [1]]], [1, 1.5, True, "1", None, [1]]),
    ],
)  # fmt: skip
def test_a_filter_does_what_its_name_says(name, values, result):
    found = apply(name, *values)
    assert (found, type(found)) == (result, type(result))


def test_filters_reach_into_items_by_attribute():
    people = [{"n": "Bo", "a": {"x": 2}}, {"n": "al", "a": {"x": 1}}, {"n": "AL", "a": {"x": 1}}]
    assert apply("map", people, attribute="a.x") == [2, 1, 1]
    assert apply("join", people, ",", attribute="n") == "Bo,al,AL"
    assert [one["n"] for one in apply("sort", people, attribute="n", reverse=True)] == ["Bo", "al", "AL"]
    assert [one["n"] for one in apply("sort", people, attribute="n", case_sensitive=True)] == [
        "AL",
        "Bo",
        "al",
    ]
    assert len(apply("unique", people, attribute="n")) == 2
    assert len(apply("unique", people, attribute="n", case_sensitive=True)) == 3


def test_the_first_of_nothing_is_no_value():
    assert apply("first", []) is NO_VALUE
    assert apply("last", "") is NO_VALUE


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("length", [3]),
        ("first", [{"a": 1}]),
        ("join", ["abc"]),
        ("sort", [[1, "a"]]),
        ("sort", [[None]]),
        ("sort", [{"a": 1}]),
        ("int", ["abc"]),
        ("int", [[]]),
        ("int", ["٣"]),
        ("float", ["12:30"]),
        ("float", [10**400]),
        ("replace", ["a", "a", "b", "x"]),
    ],
)
def test_a_filter_refuses_what_it_cannot_do(name, values):
    assert refused(apply, name, *values) == "template.value"


def test_text_filters_refuse_null():
    assert refused(apply, "upper", None) == "template.null"
    assert refused(apply, "join", [None]) == "template.null"


def test_a_field_that_an_item_lacks_is_missing():
    assert refused(apply, "map", [{"a": 1}], attribute="b") == "reference.missing"


@pytest.mark.parametrize("name", ["b64encode", "urlencode"])
def test_half_a_character_cannot_be_encoded(name):
    assert refused(apply, name, "\ud800") == "template.encoding"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("replace", ["a" * 900, "a", "bb"]),
        ("replace", ["a" * 900, "", "b"]),
        ("join", [["a" * 600] * 1000]),
        ("join", [[1] * 900, "ab"]),
        ("tojson", [[[0] * 100] * 100]),
        ("string", [[[0] * 100] * 100]),
        ("unique", [[[0] * 100] * 100]),
        ("upper", ["a" * (LIMIT + 1)]),
        ("sort", [[0] * LIMIT * 5]),
    ],
)
def test_a_filter_refuses_to_grow_a_value_above_the_limit(name, values):
    assert refused(apply, name, *values) == "limit.text"


def test_joined_texts_are_bounded_before_they_are_joined():
    assert concat(Allowance(LIMIT), "a", 1, True) == "a1true"
    assert refused(concat, Allowance(LIMIT), "a" * 600, "b" * 600) == "limit.text"


@pytest.mark.parametrize(
    ("name", "values", "result"),
    [
        ("none", [None], True),
        ("null", [0], False),
        ("true", [True], True),
        ("true", [1], False),
        ("false", [False], True),
        ("boolean", [1], False),
        ("number", [True], False),
        ("integer", [1.0], False),
        ("integer", [1], True),
        ("float", [1.0], True),
        ("string", ["a"], True),
        ("mapping", [{}], True),
        ("sequence", ["a"], False),
        ("odd", [3], True),
        ("odd", ["3"], False),
        ("even", [4], True),
        ("even", ["4"], False),
        ("divisibleby", [9, 3], True),
        ("divisibleby", [9, True], False),
        ("in", [1, [1]], True),
    ],
)
def test_a_test_tells_json_types_apart(name, values, result):
    assert TESTS[name](*values) is result
