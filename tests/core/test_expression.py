import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.expression import (
    Expression,
    compile_operand,
    operand_end,
    operand_references,
    operand_secret,
    operand_value,
)
from runner.core.reference import Reference, TemplateError
from runner.core.scope import RunValues, Scope, SecretNames
from runner.errors import StepError

BOMBS = [
    "'a' * 10000000000",
    "'a' * 600000 * 600000",
    "[0] * 10000000000",
    "([[[['a' * 1000] * 100] * 100] * 100] * 100) | tojson",
    "[['a' * 1000000] * 100000] * 100",
    "('a' * 1000000) ~ ('b' * 1000000)",
    "[" + ", ".join(["'a' * 1000000"] * 250) + "]",
    "(['a' * 1000000] * 100000) | join",
    "(['a'] * 100000) | join('b' * 1000000)",
    "('a' * 1000000) | replace('a', 'b' * 1000000)",
    "'%1000000d' % 1",
    "'%10000000000d' % 1",
    "big * big * big * big",
    "[[[0] * 100000] * 100000] | unique",
    "('\U0001f600' * 1000000) | b64encode | b64encode",
    "('\U0001f600' * 1000000) | urlencode | urlencode",
    "list | sort | sort | sort | sort | sort | sort | sort | sort | sort | sort | sort | sort | sort | sort | sort",
]
DETONATE = """
import json, os, resource, sys
from runner.core.expression import Expression
from runner.core.scope import Scope
from runner.errors import StepError
scope = Scope(inputs={"big": 10 ** 4000, "list": list(range(200000))})
Expression("1 + 1").value(scope)
for source in json.load(sys.stdin):
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (512 * 1024 * 1024,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
        try:
            Expression(source).value(scope)
        except StepError as error:
            os.write(1, error.code.encode())
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os.write(1, f" {status}\\n".encode())
"""


def test_every_bomb_is_refused_within_512_mib_and_2_seconds():
    done = subprocess.run(
        [sys.executable, "-c", DETONATE],
        cwd=Path(__file__).parents[2],
        # The two seconds are for the work itself, not for being watched line by line.
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},
        input=json.dumps(BOMBS),
        capture_output=True,
        text=True,
        timeout=25,
        check=True,
    )
    ends = dict(zip(BOMBS, done.stdout.splitlines(), strict=True))
    formats = {source for source in BOMBS if "% 1" in source}
    assert ends == {source: "template.value 0" if source in formats else "limit.text 0" for source in BOMBS}


def scope():
    return Scope(
        inputs={"name": "ada", "n": 4, "nothing": None, "password": "pw", "list": [1, 2], "text": "a" * 50},
        env={"baseUrl": "http://b"},
        headers={"X-Id": "7"},
        outputs={"register": {"userId": 42}},
        run=RunValues(max_text=100),
        secret=SecretNames(inputs=frozenset({"password"})),
    )


def value(text):
    return Expression(text).value(scope())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("input.n + 1", 5),
        ("register.userId ~ '-' ~ input.name", "42-ada"),
        ("headers['x-ID'] | int", 7),
        ("baseUrl ~ '/x'", "http://b/x"),
        ("name | upper", "ADA"),
        ("verify.code | default('none')", "none"),
        ("verify.code if verify.code is defined else input.n", 4),
        ("input.nothing", None),
        ("'00123'", "00123"),
        ("'123' ~ ''", "123"),
    ],
)
def test_an_expression_keeps_the_type_of_its_value(text, found):
    assert value(text) == found
    assert type(value(text)) is type(found)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("verify.code + 1", "reference.missing", "{{verify.code}}: no step with outputs"),
        ("input.nam | upper", "reference.missing", "no input 'nam'; did you mean 'name'?"),
        ("[] | first", "reference.missing", "{{ [] | first }} has no value"),
        ("[] | first ~ input.n", "reference.missing", "has no value"),
        ("input.n + 'a'", "template.value", "{{ input.n + 'a' }}: number + text cannot be computed"),
        ("1 < 'a'", "template.value", "cannot be computed"),
        ("input.text * 3", "limit.text", "longer than 100 characters"),
        ("[input.text, input.text]", "limit.text", "longer than 100 characters"),
        ("1e308 * 10", "template.value", "too large"),
    ],
)
def test_what_has_no_value_is_a_step_error_that_shows_the_expression(text, code, message):
    with pytest.raises(StepError) as caught:
        value(text)
    assert caught.value.code == code
    assert message in caught.value.message


def test_values_nested_too_deeply_to_compare_are_a_step_error():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    other = []
    for _ in range(100_000):
        other = [other]
    with pytest.raises(StepError) as caught:
        Expression("input.a == input.b").value(Scope(inputs={"a": deep, "b": other}))
    assert caught.value.code == "template.value"


def test_an_expression_is_compiled_once():
    expression = Expression("input.n + 1")
    assert [expression.value(scope()) for _ in range(3)] == [5, 5, 5]


def test_an_expression_names_each_reference_once_and_says_whether_it_copes_without():
    found = Expression("a.b if a.b else c").references
    assert found == (Reference("a.b", "a", ("b",), soft=True), Reference("c", "c", (), soft=True))
    assert Expression("a.b + c").references == (Reference("a.b", "a", ("b",)), Reference("c", "c"))


def test_an_expression_that_ends_in_urlencode_is_encoded():
    assert Expression("a | urlencode").encoded
    assert not Expression("a | urlencode | upper").encoded
    assert not Expression("a + 1").encoded


def test_an_operand_is_a_reference_where_it_can_be():
    path, computed = compile_operand(" input.n "), compile_operand("input.n + 1")
    assert path == Reference("input.n", "input", ("n",))
    assert (operand_value(path, scope()), operand_value(computed, scope())) == (4, 5)
    assert operand_references(path) == operand_references(computed) == (path,)


@pytest.mark.parametrize(
    ("text", "secret"),
    [("input.password", True), ("input.password ~ 'x'", True), ("input.n", False), ("input.n + 1", False)],
)
def test_an_operand_is_secret_when_a_secret_goes_into_it(text, secret):
    assert operand_secret(compile_operand(text), scope()) is secret


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("  ", "template.empty"),
        ("- input.x -", "template.syntax"),
        ("-x", "template.syntax"),
        ("x -", "template.syntax"),
        ("$uid", "reference.unknown_value"),
        ("$zzzzzzzzzzz", "reference.unknown_value"),
        ("a +", "template.syntax"),
    ],
)
def test_what_is_no_operand_is_refused_at_its_offset(text, code):
    with pytest.raises(TemplateError) as caught:
        compile_operand(text, 7)
    assert (caught.value.code, caught.value.offset) == (code, 7)


@pytest.mark.parametrize(
    ("source", "end"),
    [
        ("{{a}}", 3),
        ("{{ {'a': {'b': 1}} }}", 19),
        ("{{ '}}' }}", 8),
        ('{{ "\\"}}" }}', 10),
        ("{{ a's }}", 7),
        ("{{ a } }}", 7),
        ("{{ {a }}", 6),
    ],
)
def test_an_operand_ends_at_the_braces_that_close_it(source, end):
    assert operand_end(source, 2) == end


def test_an_operand_that_never_ends_is_refused_where_it_began():
    with pytest.raises(TemplateError) as caught:
        operand_end("ab {{ '}", 5)
    assert (caught.value.code, caught.value.offset) == ("template.unclosed", 3)


words = st.sampled_from(
    [
        "input.a",
        "input.b",
        "s.x",
        "a",
        "|",
        "default",
        "upper",
        "length",
        "join",
        "sort",
        "map",
        "(",
        ")",
        "[",
        "]",
        ",",
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "~",
        "==",
        "<",
        ">",
        "in",
        "is",
        "not",
        "and",
        "or",
        "if",
        "else",
        "defined",
        "odd",
        "'x'",
        "1",
        "2.5",
        "true",
        "null",
        "{",
        "}",
        ":",
        ".",
        "attribute=",
        "'a'",
        "first",
        "int",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(words, min_size=1, max_size=8).map(" ".join) | st.text(), JSON, JSON)
def test_any_text_over_any_values_raises_only_its_own_errors(text, first, second):
    try:
        operand = compile_operand(text)
    except TemplateError:
        return
    try:
        operand_value(operand, Scope(inputs={"a": first}, outputs={"s": {"x": second}}))
    except StepError:
        return


def test_a_scope_may_stand_in_for_what_an_expression_comes_to():
    class Open(Scope):
        def stand_in(self, text, references):
            return (
                f"<{text}>"
                if any(one.root == "input" for one in references)
                else super().stand_in(text, references)
            )

    scope = Open(inputs={"x": 1}).child(item=2).at("a")
    assert Expression("input.x + 1").value(scope) == "<input.x + 1>"
    assert Expression("item + 1").value(scope) == 3
