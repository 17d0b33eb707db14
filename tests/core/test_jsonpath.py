import pytest

from runner.core.jsonpath import MAX_NODES, QueryError, compile_query


def select(source, value):
    return compile_query(source)[0](value)


@pytest.mark.parametrize(
    ("source", "single"), [("$.a", True), ("$.a[0]", True), ("$", True), ("$.a[*]", False), ("$..a", False)]
)
def test_a_query_knows_whether_it_can_only_select_one_value(source, single):
    assert compile_query(source)[1] is single


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("$[?match(@, 'a.c')]", ["abc"]),
        ("$[?search(@, 'b')]", ["abc", "abcd"]),
        ("$[?match(@, 'a[.b]cd?')]", ["abc", "abcd"]),
        ("$[?match(@, '\\\\p{L}+')]", ["abc", "abcd"]),
        ("$[?match(@, 'a.c.?')]", ["abc", "abcd"]),
        ("$[?match(@, '(')]", []),
        ("$[?match(@, 1)]", []),
        ("$[?match(@, '[0-9]')]", []),
        ("$[?match(@, '[b-a]')]", []),
        ("$[?length(@) == 4]", ["abcd"]),
    ],
)
def test_patterns_follow_the_standard(source, found):
    assert select(source, ["abc", "abcd", "a\nc", 5]) == found


@pytest.mark.parametrize(
    "source",
    [
        "$.",
        "a",
        "$[?@.a ==]",
        "$[99999999999999999999]",
        "$[?foo(@)]",
        "$[?length(@.*) == 1]",
        "$" + "[?@" * 2000,
    ],
)
def test_what_is_no_query_is_refused(source):
    with pytest.raises(QueryError):
        compile_query(source)


def test_a_pattern_cannot_hang():
    with pytest.raises(QueryError, match="takes too long"):
        select("$[?search(@, '(a|aa)+$')]", ["a" * 100 + "b"])


def test_the_number_of_selected_values_is_bounded():
    assert len(select("$[*]", [0] * MAX_NODES)) == MAX_NODES
    with pytest.raises(QueryError, match="more than 100000"):
        select("$[*]", [0] * (MAX_NODES + 1))
    wide = [[[[0] * 30] * 30] * 30] * 30
    with pytest.raises(QueryError, match="more than 100000"):
        select("$..*..*", wide)


def test_a_value_nested_too_deeply_is_refused():
    value = []
    for _ in range(300):
        value = [value]
    with pytest.raises(QueryError, match="recursion"):
        select("$..a", value)
