import pytest
from jinja2 import UndefinedError

from runner.core.reference import TemplateError
from runner.core.sandbox import MAX_LENGTH, compile_tree, is_soft, parse, references
from runner.errors import StepError

LIMIT = 1024 * 1024


def evaluate(source, **roots):
    tree = parse(source)
    return compile_tree(tree, soft=is_soft(tree))(roots, LIMIT)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("1 + 2 * 3", 7),
        ("-x", -4),
        ("+x", 4),
        ("x // 3", 1),
        ("x == 4 and not false", True),
        ("none or null or 'z'", "z"),
        ("1 < x <= 4", True),
        ("'a' ~ x ~ true", "a4true"),
        ("(1, x)", [1, 4]),
        ("[1, x]", [1, 4]),
        ("{'a': x}", {"a": 4}),
        ("x in [4]", True),
        ("x not in [4]", False),
        ("x is number", True),
        ("x is not divisibleby 3", True),
        ("x is in [4]", True),
        ("'y' if x > 3 else 'n'", "y"),
        ("o.items", 1),
        ("o['keys']", 2),
        ("o.list[x - 4]", 7),
        ("o.list.0", 7),
        ("o.list | first", 7),
        ("[] | first | default(3)", 3),
        ("missing | default", ""),
        ("missing.a.b['c'] | default('d')", "d"),
        ("o.null | default('d')", "d"),
        ("o.empty | default('d')", ""),
        ("o.empty | default('d', true)", "d"),
        ("o.empty | default('d', boolean=true)", "d"),
        ("missing is defined", False),
        ("missing.a is undefined", True),
        ("o.empty is defined", True),
        ("missing.a if missing.a else 'e'", "e"),
        ("'y' if missing == 1 else 'n'", "n"),
        ("'y' if missing != 1 else 'n'", "y"),
        ("'y' if not missing else 'n'", "y"),
        ("[missing is defined, {'a': 1} is mapping]", [False, True]),
        ("self ~ context ~ environment", "123"),
        ("result", "R"),
        ("'\\ud800' ~ x", "\ud8004"),
        ("1.5", 1.5),
        ("10_000", 10_000),
        ("'{{' ~ '}}'", "{{}}"),
    ],
)  # fmt: skip
def test_an_expression_computes_json_from_json(source, value):
    roots = {"x": 4, "o": {"items": 1, "keys": 2, "list": [7], "null": None, "empty": ""}}
    found = evaluate(source, **roots, self="1", context="2", environment="3", result="R")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "source",
    ["missing + 1", "missing.a.b", "missing | upper", "missing == 1", "not missing", "missing is odd", "'a' ~ missing",
     "x | replace('a', missing)", "x if false", "missing | default(gone) | upper", "1 in (missing if true else 1)",
     "x.upper", "x.__class__", "x['__class__']", "o.items", "o.__class__.__mro__", "o['__init__']", "x[0]", "o[1.5]",
     "[].append", "o.pop", "(missing if true else 1) + 1"],
)  # fmt: skip
def test_using_what_is_not_there_is_an_error_whatever_python_has_there(source):
    with pytest.raises(UndefinedError):
        evaluate(source, x="text", o={})


@pytest.mark.parametrize("source", ["1 < 'a'", "x in 5", "-'a'", "{} < {}"])
def test_what_jinja_cannot_compute_stays_a_type_error_for_the_caller(source):
    with pytest.raises(TypeError):
        evaluate(source, x=1)


def test_a_value_above_the_limit_is_a_step_error():
    with pytest.raises(StepError):
        evaluate("'a' * 2000000")


@pytest.mark.parametrize(
    ("source", "code", "hint"),
    [
        ("a === b", "template.syntax", "=== and !== belong to conditions"),
        ("a !== b", "template.syntax", "=== and !== belong to conditions"),
        ("a && b", "template.syntax", "write `and` for &&"),
        ("a || b", "template.syntax", "write `or` for ||"),
        ("a ? 1 : 2", "template.syntax", "a if condition else b"),
        ("!a", "template.syntax", "write `not` for !"),
        ("$uuid | upper", "template.syntax", "stands alone"),
        ("a = b", "template.syntax", "write == to compare"),
        ("a b", "template.syntax", "unexpected 'b'"),
        ("a, b", "template.syntax", "unexpected ','"),
        ("'===' b", "template.syntax", "unexpected 'b'"),
        ("(a", "template.syntax", "is not an expression"),
        ("'\\N{nope}'", "template.syntax", "is not an expression"),
        ("0x" + "f" * 4000, "template.syntax", "too large"),
        ("-1e999", "template.syntax", "too large"),
        ("'\\u12'", "template.syntax", "is not an expression"),
        ("a | upper }}", "template.syntax", "is not an expression"),
        ("a ** b", "template.forbidden", "pow is not allowed"),
        ("a()", "template.forbidden", "cannot be called"),
        ("a.upper()", "template.forbidden", "cannot be called"),
        ("a[1:2]", "template.forbidden", "cannot be sliced"),
        ("{1: 2}", "template.forbidden", "text in quotes"),
        ("{a: 2}", "template.forbidden", "text in quotes"),
        ("a | uper", "template.forbidden", "did you mean 'upper'?"),
        ("a | attr('b')", "template.forbidden", "no filter 'attr'"),
        ("a | zzzzzzzzzz", "template.forbidden", "there are b64encode, default"),
        ("a is calable", "template.forbidden", "no test 'calable'"),
        ("a is defind", "template.forbidden", "did you mean 'defined'?"),
        ("a | upper(1)", "template.forbidden", "filter 'upper'"),
        ("a | default(1, 2, 3)", "template.forbidden", "filter 'default'"),
        ("a | map('x')", "template.forbidden", "filter 'map'"),
        ("a | map", "template.forbidden", "filter 'map'"),
        ("a | sort(foo=1)", "template.forbidden", "filter 'sort'"),
        ("a is divisibleby", "template.forbidden", "test 'divisibleby'"),
        ("a is defined(1)", "template.forbidden", "test 'defined'"),
        ("a | join(*b)", "template.forbidden", "unpacked"),
        ("a | join(**b)", "template.forbidden", "unpacked"),
        ("input.user-id | upper", "template.dash", "'r-i' may be a name or a minus"),
        ("a" * (MAX_LENGTH + 1), "template.too_long", "longer than 4096"),
        ("(" * 2000, "template.depth", "deeper than 50"),
        ("(" * 60 + "1" + ")" * 60 + " + 1" * 60, "template.depth", "deeper than 50"),
        ("not " * 500 + "a", "template.depth", "deeper than 50"),
        ("a" + " | upper" * 60, "template.depth", "deeper than 50"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_when_it_is_compiled(source, code, hint):
    with pytest.raises(TemplateError) as caught:
        parse(source)
    assert caught.value.code == code
    assert hint in caught.value.message


def test_a_chain_just_within_the_depth_limit_computes():
    assert evaluate("1" + " + 1" * 48) == 49


@pytest.mark.parametrize(
    ("source", "soft"),
    [
        ("a", False),
        ("a + 1", False),
        ("a | upper", False),
        ("a is number", False),
        ("a | default(1)", True),
        ("(a | default(1)) + 1", True),
        ("a is defined", True),
        ("not (a is undefined)", True),
        ("1 if a else 2", True),
        ("[1 if a else 2]", True),
    ],
)
def test_an_expression_is_soft_when_it_copes_with_missing_values(source, soft):
    assert is_soft(parse(source)) is soft


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("a.b[0]['c d'].e + 1", [("a.b[0]['c d'].e", "a", ("b", 0, "c d", "e"))]),
        ("a[b.c].d", [("a", "a", ()), ("b.c", "b", ("c",))]),
        ("a[1.5]", [("a", "a", ())]),
        ("(x | first).y", [("x", "x", ())]),
        ("1 + 2", []),
        ("null", []),
        ("f(1)" and "x | default(y.z)", [("x", "x", ()), ("y.z", "y", ("z",))]),
    ],
)
def test_the_references_of_an_expression_are_its_outermost_paths(source, paths):
    found = list(references(parse(source), soft=True))
    assert [(one.text, one.root, one.path) for one in found] == paths
    assert all(one.soft for one in found)
