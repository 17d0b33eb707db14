import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.condition import ConditionSyntaxError, compile_condition, equal, same, truthy
from runner.core.reference import Reference
from runner.core.scope import RunValues, Scope
from runner.errors import StepError

VALUES = {
    "yes": True,
    "role": "admin",
    "n": 5,
    "text5": "5",
    "nothing": None,
    "empty": "",
    "list": [1, {"a": [2]}],
    "same": [1.0, {"a": [2]}],
    "other": [True, {"a": [2]}],
    "object": {"a": 1, "b": None},
    "turned": {"b": None, "a": 1},
    "nan": float("nan"),
    "evil": "' || true || '",
    "quote": "it's \\ \"",
}


def scope(**changes):
    given = {
        "inputs": VALUES,
        "outputs": {"login": {"user-role": "admin"}},
        "run": RunValues(max_text=100),
    } | changes
    return Scope(**given)


def evaluate(source, **changes):
    return compile_condition(source).evaluate(scope(**changes))


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{input.yes}} === true", True),
        ("{{input.role}} === 'admin'", True),
        ('{{login.user-role}} === "admin"', True),
        ("{{input.role}}==='admin'", True),
        ("{{input.role}} !== 'admin'", False),
        ("1 === true", False),
        ("'1' === 1", False),
        ("1 === 1.0", True),
        ("'1' == 1", True),
        ("1.5 == '1.5'", True),
        ("'1e2' == 100", True),
        ("'-1' == -1", True),
        ("'01' == 1", True),
        ("'' == 0", False),
        ("' 1' == 1", False),
        ("'0x1' == 1", False),
        ("'1' == '1.0'", False),
        ("true == 1", False),
        ("true == '1'", False),
        ("null == 0", False),
        ("null == false", False),
        ("null == null", True),
        ("1 != '1'", False),
        ("{{input.nan}} === {{input.nan}}", False),
        ("{{input.list}} === {{input.same}}", True),
        ("{{input.list}} === {{input.other}}", False),
        ("{{input.list}} == {{input.role}}", False),
        ("{{input.object}} === {{input.turned}}", True),
        ("{{input.object}} !== {{input.list}}", True),
        ("1 < 2", True),
        ("2 <= 2.0", True),
        ("'b' > 'a'", True),
        ("'10' < '9'", True),
        ("3 >= 4", False),
        ("{{input.nan}} < 1", False),
        ("-5 < -4.5e0", True),
        ("!true", False),
        ("!!'a'", True),
        ("!!!{{input.nothing}}", True),
        ("!{{input.n}} === false", True),
        ("1 < 2 === true", True),
        ("true || false && false", True),
        ("(true || false) && false", False),
        ("false || '' || 'x' || 'y'", "x"),
        ("1 && 'a' && [0]" and "1 && 'a' && 0 && 2", 0),
        ("{{input.nothing}} || 'x'", "x"),
        ("{{input.nothing}} && 'x'", None),
        ("{{input.empty}} || {{input.nothing}}", None),
        ("true || {{gone.x}}", True),
        ("false && {{gone.x}}", False),
        ("{{input.n}}", 5),
        ("null", None),
        ("{{ input.n + 1 }} === 6", True),
        ("{{ gone.x | default('d') }} === 'd'", True),
        ("'{{input.role}}' === 'admin'", True),
        ("'r:{{input.role}}/{{ input.n + 1 }}{{input.yes}}' === 'r:admin/6true'", True),
        ("'{{input[\"role\"]}}' === 'admin'", True),
        ("'{{input.text5}}' == {{input.n}}", True),
        (r"'it\'s' === " + '"it\'s"', True),
        (r"'a\\b\n\t\r\x' === " + '"a\\\\b\\n\\t\\rx"', True),
        (r"'\{{input.role}}' === '{' ", False),
        ("'{ {' === '{ {'", True),
        (" \n\t{{input.n}}\n===\n5 ", True),
    ],
)  # fmt: skip
def test_a_condition_yields_what_javascript_would(source, value):
    found = evaluate(source)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (None, False), (False, False), (0, False), (0.0, False), (float("nan"), False), ("", False),
        (True, True), (1, True), (-1.5, True), ("0", True), ("false", True), ([], True), ({}, True),
    ],
)  # fmt: skip
def test_truth_is_that_of_javascript(value, holds):
    assert truthy(value) is holds
    assert compile_condition("{{input.v}}").holds(scope(inputs={"v": value})) is holds
    assert evaluate("!{{input.v}}", inputs={"v": value}) is not holds


@pytest.mark.parametrize(
    "source",
    ["1 < '2'", "true > 0", "null <= null", "{{input.list}} >= {{input.list}}", "'a' < {{input.nothing}}"],
)
def test_only_two_numbers_or_two_texts_have_an_order(source):
    with pytest.raises(StepError, match="two numbers or two texts") as caught:
        evaluate(source)
    assert caught.value.code == "condition.types"


def test_a_missing_value_is_an_error_once_it_is_asked_for():
    with pytest.raises(StepError, match="no input 'rol'; did you mean 'role'"):
        evaluate("{{input.rol}} === 'admin'")


def test_null_inside_quotes_is_an_error_that_names_the_reference():
    with pytest.raises(StepError, match="is null inside quotes; compare it without quotes") as caught:
        evaluate("'{{input.nothing}}' === 'x'")
    assert caught.value.code == "template.null"
    assert caught.value.message.startswith("{{input.nothing}}")


@pytest.mark.parametrize(
    ("source", "code"),
    [("'{{input.s}}{{input.s}}' === ''", "limit.text"), ("'{{input.nan}}' === ''", "template.value")],
)
def test_text_in_quotes_has_the_limits_of_all_text(source, code):
    with pytest.raises(StepError) as caught:
        evaluate(source, inputs={"s": "a" * 60, "nan": float("nan")})
    assert caught.value.code == code


def test_values_too_deep_to_compare_are_an_error():
    deep, other = [], []
    for _ in range(10_000):
        deep, other = [deep], [other]
    with pytest.raises(StepError) as caught:
        evaluate("{{input.a}} === {{input.b}}", inputs={"a": deep, "b": other})
    assert caught.value.code == "condition.types"


@pytest.mark.parametrize("name", ["evil", "quote"])
def test_what_is_in_a_value_never_changes_the_condition(name):
    assert evaluate(f"'{{{{input.{name}}}}}' === 'admin'") is False
    assert evaluate(f"{{{{input.{name}}}}} === 'admin'") is False
    assert evaluate(f"'{{{{input.{name}}}}}' === {{{{input.{name}}}}}") is True


@given(st.text(max_size=50))
def test_no_text_ever_changes_a_condition(text):
    inputs = {"x": text}
    assert evaluate("'{{input.x}}' === 'admin' || false", inputs=inputs) is (text == "admin")
    assert evaluate('"-{{input.x}}" === {{ "-" ~ input.x }}', inputs=inputs) is True


@pytest.mark.parametrize(
    ("source", "offset", "remedy"),
    [
        ("", 0, "a value is missing at the end"),
        ("{{input.n}} = 5", 12, "write === to compare"),
        ("{{a}} & {{b}}", 6, "write && for and"),
        ("{{a}} | {{b}}", 6, "write || for or"),
        ("{{a}} and {{b}}", 6, "write && for and"),
        ("{{a}} or {{b}}", 6, "write || for or"),
        ("not {{a}}", 0, "write ! for not"),
        ("{{a}} === undefined", 10, "write null"),
        ("{{a}} === True", 10, "write true"),
        ("{{a}} + 1", 6, "put the calculation in {{ }}"),
        ("{{a}} ? 1 : 2", 6, "inline if"),
        ("{{a}} === admin", 10, "put text in quotes ('admin')"),
        ("input.role === 'admin'", 0, "({{input.role}})"),
        ("response.status === 200", 0, "only in assert and until"),
        ("{{a}} ===", 9, "a value is missing at the end"),
        ("=== 1", 0, "a value is missing before '==='"),
        ("(1", 0, "add a )"),
        ("1)", 1, "remove it"),
        ("()", 1, "a value is missing before ')'"),
        ("1 2", 2, "an operator is missing"),
        ("1 !true", 2, "an operator is missing"),
        ("1 < 2 < 3", 6, "join two with &&"),
        ("1 == 1 === 1", 7, "join two with &&"),
        ("'abc", 0, "the quote ' is never closed"),
        ("'abc\\", 0, "the quote ' is never closed"),
        ("007", 0, "unexpected '0'"),
        ("1a", 0, "unexpected '1'"),
        ("é", 0, "put text in quotes"),
        ("[1]", 0, "put text in quotes"),
    ],
)
def test_a_condition_that_cannot_be_parsed_says_where_and_what_to_do(source, offset, remedy):
    with pytest.raises(ConditionSyntaxError) as caught:
        compile_condition(source)
    assert (caught.value.code, caught.value.offset) == ("condition.syntax", offset)
    assert remedy in str(caught.value)
    assert caught.value.message.endswith(f"(at character {offset + 1})")


@pytest.mark.parametrize(
    ("source", "code", "offset"),
    [
        ("1 === {{", "template.unclosed", 6),
        ("1 === '{{ === }}'", "template.syntax", 7),
        ("{{}}", "template.empty", 0),
    ],
)
def test_a_template_problem_in_a_condition_keeps_its_code_and_gets_its_offset(source, code, offset):
    with pytest.raises(ConditionSyntaxError) as caught:
        compile_condition(source)
    assert (caught.value.code, caught.value.offset) == (code, offset)


def test_nesting_is_bounded_with_a_clear_error():
    assert evaluate("(" * 200 + "1" + ")" * 200) == 1
    assert evaluate("!" * 10_001 + "1") is False
    assert evaluate(" && ".join(["1"] * 10_000)) == 1
    for source in ("(" * 201 + "1" + ")" * 201, "(1 || 1 && 1 == 1 < " * 199 + "1" + ")" * 199):
        with pytest.raises(ConditionSyntaxError, match="deeper than 200 levels") as caught:
            compile_condition(source)
        assert caught.value.code == "condition.depth"


def test_bare_response_paths_are_operands_where_there_is_a_response():
    condition = compile_condition(
        "response.status === 200 && response.headers.Content-Type != ''", response=True
    )
    names = {"response": {"status": 200, "headers": {"Content-Type": "x"}}}
    assert condition.holds(scope(names=names))
    assert condition.references == (
        Reference("response.status", "response", ("status",)),
        Reference("response.headers.Content-Type", "response", ("headers", "Content-Type")),
    )
    with pytest.raises(ConditionSyntaxError, match="put text in quotes"):
        compile_condition("body.x === 1", response=True)


def test_a_condition_knows_its_source_and_its_references_in_order():
    source = "{{a.b}} === '{{c}}-{{ d | default(e) }}'"
    condition = compile_condition(source)
    assert condition.shown == source
    assert [(one.text, one.soft) for one in condition.references] == [
        ("a.b", False),
        ("c", False),
        ("d", True),
        ("e", True),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
words = st.sampled_from(
    [
        "{{input.a}}",
        "{{input.b}}",
        "'{{input.a}}'",
        "'x'",
        '"y"',
        "1",
        "-2.5",
        "true",
        "null",
        "===",
        "!==",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "&&",
        "||",
        "!",
        "(",
        ")",
        "=",
        "and",
        "'",
        "{{",
    ]
)


@given(st.lists(words, max_size=9).map(" ".join) | st.text(), JSON, JSON)
def test_any_text_over_any_values_raises_only_its_own_errors(text, first, second):
    try:
        condition = compile_condition(text, response=True)
    except ConditionSyntaxError:
        return
    try:
        condition.holds(scope(inputs={"a": first, "b": second}))
    except StepError:
        return


@given(JSON, JSON)
def test_equality_is_reflexive_symmetric_and_looser_than_identity(first, second):
    assert same(first, first)
    assert same(first, second) == same(second, first)
    assert equal(first, second) == equal(second, first)
    assert equal(first, second) or not same(first, second)


def test_a_numeric_string_too_long_for_a_number_equals_none():
    assert evaluate("{{input.s}} == 1", inputs={"s": "9" * 100_000}) is False
