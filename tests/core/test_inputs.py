import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import inputs
from runner.core.inputs import TYPES, check_fields, check_inputs
from runner.core.model import UNSET, InputField


def field(name="x", kind="string", /, *, required=False, default=UNSET, **validation):
    return InputField(name=name, type=kind, required=required, default=default, validation=validation)


def told(declared, value, *, text=False, **options):
    """Return the value of one input and the sentences about it."""
    values, problems = check_inputs(
        [declared], {"x": value}, text=frozenset({"x"} if text else ()), **options
    )
    assert all(problem.where == "inputs.x" and problem.is_error for problem in problems)
    return values["x"], [problem.what.removeprefix("Input x: ") for problem in problems]


def flaws(*fields):
    return [(problem.code, problem.where, problem.what, problem.severity) for problem in check_fields(fields)]


def test_the_words_are_those_of_the_seed():
    fields = [
        field("username", required=True, min_length=3, max_length=50),
        field("email", "email", required=True),
        field("password", "password", required=True, min_length=8, pattern="[0-9]"),
        field("age", "integer"),
    ]
    given_values = {"username": "ab", "email": "nobody", "password": "secretsecret", "age": "old"}
    _, problems = check_inputs(fields, given_values)
    assert [(problem.code, str(problem)) for problem in problems] == [
        ("input.min_length", "inputs.username: Input username: minimum length is 3"),
        ("input.email", "inputs.email: Input email: invalid email format"),
        ("input.pattern", "inputs.password: Input password: pattern does not match"),
        ("input.type", "inputs.age: Input age: invalid type 'string', must be integer"),
    ]


def test_all_rules_that_a_value_breaks_are_told_at_once():
    declared = field("x", "array", min_items=3, unique_items=True)
    assert told(declared, [1, 1.0])[1] == ["minimum number of items is 3", "items must be unique"]


def test_undeclared_inputs_are_an_error_that_names_the_close_match():
    _, problems = check_inputs([field("username")], {"usernam": "a", "zzz": 1})
    assert [(problem.code, problem.where, problem.what) for problem in problems] == [
        ("input.undeclared", "inputs.usernam", "Input usernam: no such input; did you mean 'username'?"),
        (
            "input.undeclared",
            "inputs.zzz",
            "Input zzz: no such input; declare it in flow_inputs or leave it out",
        ),
    ]


def test_open_inputs_are_accepted_as_they_are():
    values, problems = check_inputs([], {"a": "01", "b": [1]}, text=frozenset({"a"}), open_inputs=True)
    assert (values, problems) == ({"a": "01", "b": [1]}, [])


def test_missing_values_are_defaults_then_null_and_an_error_when_required():
    fields = [
        field("a", default="d"),
        field("b"),
        field("c", required=True),
        field("d", required=True, default=5),
        field("e", default=None),
        field("f", default="7", required=True),
    ]
    values, problems = check_inputs(fields, {"b": None, "c": None}, text=frozenset("f"))
    assert values == {"a": "d", "b": None, "c": None, "d": 5, "e": None, "f": "7"}
    assert [problem.what for problem in problems] == [
        "Input c: a required value is missing",
        "Input d: invalid type 'number', must be string",
    ]


def test_an_explicit_null_wins_over_the_default_and_is_a_value_of_json():
    assert told(field(default="d"), None) == (None, [])
    assert told(field("x", "json", required=True, default=1), None) == (None, [])


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "00123", "00123"),
        ("string", "", ""),
        ("password", "1", "1"),
        ("date", "2025-12-31", "2025-12-31"),
        ("file", "content", "content"),
        ("integer", "007", 7),
        ("integer", " -5 ", -5),
        ("integer", "5.0", 5),
        ("integer", "12345678901234567890", 12345678901234567890),
        ("number", "+12", 12),
        ("number", "1.5", 1.5),
        ("number", ".5", 0.5),
        ("number", "1e3", 1000.0),
        ("number", "9007199254740993", 9007199254740993),
        ("number", "9007199254740993.0", 9007199254740993),
        ("number", "9007199254740993.5", 9007199254740994.0),
        ("boolean", "true", True),
        ("boolean", "YES", True),
        ("boolean", "1", True),
        ("boolean", "False", False),
        ("boolean", "no", False),
        ("boolean", "0", False),
        ("object", '{"a": [1]}', {"a": [1]}),
        ("array", "[1, 2]", [1, 2]),
        ("json", "null", None),
        ("json", '"text"', "text"),
        ("json", "1.50", 1.5),
    ],
)
def test_text_is_read_as_its_declared_type(kind, text, value):
    found, problems = told(field("x", kind), text, text=True)
    assert (found, type(found), problems) == (value, type(value), [])


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        ("integer", "5.5", "invalid type 'number', must be integer"),
        ("integer", "five", "invalid type 'string', must be integer"),
        ("integer", "", "invalid type 'string', must be integer"),
        ("number", "1e999", "invalid type 'string', must be number"),
        ("number", "9" * 5000, "invalid type 'string', must be number"),
        ("number", "nan", "invalid type 'string', must be number"),
        ("boolean", "maybe", "invalid type 'string', must be boolean"),
        ("object", "[]", "invalid type 'array', must be object"),
        ("array", "{}", "invalid type 'object', must be array"),
        ("json", "hello", "JSON syntax error: expecting value"),
        ("json", "[" * 100_000, "objects and lists are nested more than 200 deep; flatten them"),
        ("string", "\udc80", "half of a surrogate pair stands alone, which is no character; remove it"),
    ],
)
def test_text_that_does_not_read_as_its_type_is_told(kind, text, sentence):
    assert told(field("x", kind), text, text=True) == (
        json.loads(text) if text in ("[]", "{}", "5.5") else text,
        [sentence],
    )


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("string", 5, "number"),
        ("number", True, "boolean"),
        ("integer", 5.5, "number"),
        ("integer", "5", "string"),
        ("number", float("inf"), "number"),
        ("boolean", "true", "string"),
        ("email", [], "array"),
        ("object", [], "array"),
        ("array", {}, "object"),
        ("file", 1, "number"),
        ("string", b"x", "file"),
        ("string", (1,), "tuple"),
        ("json", {1}, "set"),
    ],
)
def test_a_value_of_another_type_is_told(kind, value, shown):
    assert told(field("x", kind), value) == (value, [f"invalid type {shown!r}, must be {kind}"])


def test_values_that_are_no_text_are_not_read_again():
    assert told(field("x", "integer"), 5, text=True) == (5, [])
    assert told(field("x", "integer"), 5.0) == (5, [])


def test_a_value_that_json_cannot_hold_is_told():
    assert told(field("x", "object"), {1: 2})[1] == [
        "a key is of the Python type int, which JSON does not have; use a text"
    ]


@pytest.mark.parametrize(
    ("declared", "good", "bad", "sentence"),
    [
        (field(min_length=2), "ab", "a", "minimum length is 2"),
        (field(max_length=2), "ab", "abc", "maximum length is 2"),
        (field("x", "object", min_length=1), {"a": 1}, {}, "minimum length is 1"),
        (field("x", "json", min_length=1), 7, "", "minimum length is 1"),
        (field("x", "json", max_length=1), 777, "ab", "maximum length is 1"),
        (field(pattern="^[a-z]+$"), "ab", "A", "pattern does not match"),
        (field(pattern="/^[a-z]+$/i"), "AB", "1", "pattern does not match"),
        (field("x", "url", pattern="^https:"), "https://a.b", "http://a.b", "pattern does not match"),
        (field("x", "number", min=1), 1, 0.9, "minimum is 1"),
        (field("x", "number", max="2.5"), 2.5, 2.6, "maximum is 2.5"),
        (field("x", "integer", max=2**53), 2**53, 2**53 + 1, "maximum is 9007199254740992"),
        (field("x", "number", integer=True), 5.0, 5.5, "must be an integer"),
        (field("x", "number", integer=False), 5.5, "5", "invalid type 'string', must be number"),
        (field(options=["dev", "prod"]), "dev", "qa", "must be one of: dev, prod"),
        (field(allowed_values=["dev", None]), "dev", "null", "must be one of: dev, null"),
        (field("x", "number", options=["5", 6, 7.0]), 5, 8, "must be one of: 5, 6, 7.0"),
        (field("x", "integer", options=[7.0]), 7, 1, "must be one of: 7.0"),
        (field("x", "boolean", options=[1, True]), True, False, "must be one of: 1, true"),
        (field("x", "boolean", options=["true", 1, 0]), UNSET, True, "must be one of: true, 1, 0"),
        (field("x", "json", options=[None, {"a": 1}]), {"a": 1}, {"a": 2}, 'must be one of: null, {"a":1}'),
        (field("x", "password", options=["s3cret"]), "s3cret", "other", "not one of the allowed values"),
        (
            field(options=[str(i) for i in range(22)]),
            "21",
            "x",
            f"must be one of: {', '.join(map(str, range(20)))} and 2 more",
        ),
        (
            field("x", "email", allowed_domains=["A.com", "@b.org"]),
            "x@a.COM",
            "x@c.de",
            "domain must be one of: A.com, @b.org",
        ),
        (field("x", "array", min_items=1), [0], [], "minimum number of items is 1"),
        (field("x", "array", max_items=0), [], [0], "maximum number of items is 0"),
        (
            field("x", "array", unique_items=True),
            [1, "1", True, {"a": 1}],
            [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
            "items must be unique",
        ),
        (field("x", "array", unique_items=False), [1, 1], 1, "invalid type 'number', must be array"),
        (field("x", "file", max_size="1KB"), b"x" * 1024, "é" * 513, "maximum size is 1KB"),
        (field("x", "date"), "2025-12-31", "2025-02-30", "invalid date, must look like 2025-12-31"),
        (
            field("x", "date", format="d/m/Y"),
            "31/12/2025",
            "2025-12-31",
            "does not match the date format d/m/Y",
        ),
        (field("x", "email"), "a@b.co", "a", "invalid email format"),
        (field("x", "url"), "https://a.b", "a.b", "invalid url format"),
    ],
)
def test_a_rule_is_kept_or_told(declared, good, bad, sentence):
    if good is not UNSET:
        assert told(declared, good) == (good, [])
    assert told(declared, bad) == (bad, [sentence])
    assert check_fields([declared]) == []


def test_the_type_of_a_file_is_that_of_the_name_it_was_read_from():
    declared = field("x", "file", allowed_types=["pdf", ".png"])
    assert told(declared, b"x", files={"x": "a/Photo.PNG"})[1] == []
    assert told(declared, b"x", files={"x": "a.exe"})[1] == ["file type must be one of: pdf, .png"]
    assert told(declared, b"x", files={"other": "a.exe"})[1] == []
    assert told(declared, b"x")[1] == []


def test_a_pattern_that_would_hang_is_told_in_time():
    values, problems = check_inputs([field(pattern="(a|aa)+$", max_length=5)], {"x": "a" * 80 + "b"})
    assert [problem.code for problem in problems] == ["input.pattern_timeout", "input.max_length"]
    assert values["x"].endswith("b")


def test_a_rule_that_is_itself_wrong_does_not_judge_values():
    broken = {"min_length": "3", "pattern": "(", "min": 1, "colour": "red", "options": "ab"}
    assert told(field("x", "string", **broken), "v") == ("v", [])
    assert told(field("x", "strng"), [1]) == ([1], [])


@given(st.sampled_from(TYPES), st.text() | st.integers() | st.lists(st.text(), max_size=2), st.booleans())
def test_no_message_quotes_a_value(kind, value, is_text):
    marked = f"hunter2-{value}" if isinstance(value, str) else value
    declared = field(
        "x",
        kind,
        min_length=100,
        pattern="^y$",
        options=["q"],
        max_items=0,
        min=10**9,
        max_size=0,
        format="Y",
    )
    _, problems = check_inputs([declared], {"x": marked}, text=frozenset({"x"} if is_text else ()))
    assert all("hunter2" not in problem.what for problem in problems)


def test_the_names_of_declarations_are_checked():
    assert flaws(field("a"), field("a"), field("2b"), field(""), field("")) == [
        (
            "input.duplicate",
            "flow_inputs[1].name",
            "Input a: declared twice; rename or remove one of them",
            "error",
        ),
        (
            "input.name",
            "flow_inputs[2].name",
            "Input 2b: invalid name '2b'; use letters, digits and _, and begin with no digit",
            "error",
        ),
        ("input.name", "flow_inputs[3].name", "Input 3: a name is missing", "error"),
        ("input.name", "flow_inputs[4].name", "Input 4: a name is missing", "error"),
    ]


def test_an_unknown_type_is_told_with_its_close_match():
    ((code, where, what, severity),) = flaws(field("age", "intger", min_length=2))
    assert (code, where, severity) == ("input.unknown_type", "flow_inputs[0].type", "error")
    assert (
        what
        == f"Input age: invalid type 'intger', must be one of: {', '.join(TYPES)}; did you mean 'integer'?"
    )


@pytest.mark.parametrize(
    ("kind", "rules", "code", "sentence", "severity"),
    [
        (
            "string",
            {"min_length": -1},
            "rule_value",
            "min_length must be a whole number of 0 or more",
            "error",
        ),
        (
            "string",
            {"min_length": True},
            "rule_value",
            "min_length must be a whole number of 0 or more",
            "error",
        ),
        (
            "string",
            {"max_length": 0},
            "rule_value",
            "max_length must be a whole number of 1 or more",
            "error",
        ),
        (
            "string",
            {"pattern": "(a"},
            "rule_value",
            "pattern does not compile: missing ) at position 2",
            "error",
        ),
        (
            "string",
            {"options": "a,b"},
            "rule_value",
            "options must be a list with at least one value",
            "error",
        ),
        (
            "string",
            {"allowed_values": []},
            "rule_value",
            "allowed_values must be a list with at least one value",
            "error",
        ),
        ("number", {"min": "low"}, "rule_value", "min must be a number", "error"),
        ("number", {"max": None}, "rule_value", "max must be a number", "error"),
        ("number", {"integer": "yes"}, "rule_value", "integer must be true or false", "error"),
        (
            "email",
            {"allowed_domains": "a.com"},
            "rule_value",
            "allowed_domains must be a list of texts",
            "error",
        ),
        ("file", {"allowed_types": [1]}, "rule_value", "allowed_types must be a list of texts", "error"),
        (
            "file",
            {"max_size": "big"},
            "rule_value",
            "max_size must be a number of bytes or a text such as 5MB",
            "error",
        ),
        (
            "date",
            {"format": "Q"},
            "rule_value",
            "format has the unknown letter 'Q'; use the letters of PHP, such as Y-m-d H:i:s",
            "error",
        ),
        ("number", {"min": 5, "max": "4.5"}, "range", "min is greater than max; no value fits", "error"),
        (
            "string",
            {"min_length": 5, "max_length": 4},
            "range",
            "min_length is greater than max_length; no value fits",
            "error",
        ),
        (
            "array",
            {"min_items": 5, "max_items": 4},
            "range",
            "min_items is greater than max_items; no value fits",
            "error",
        ),
        (
            "number",
            {"min_length": 1},
            "rule_not_applicable",
            "min_length is not applicable for type number; remove it",
            "error",
        ),
        (
            "date",
            {"max_length": 1},
            "rule_not_applicable",
            "max_length is not applicable for type date; remove it",
            "error",
        ),
        (
            "number",
            {"pattern": "a"},
            "rule_not_applicable",
            "pattern is not applicable for type number; remove it",
            "warning",
        ),
        (
            "string",
            {"min": 1},
            "rule_not_applicable",
            "min is not applicable for type string; remove it",
            "warning",
        ),
        (
            "string",
            {"minLength": 1},
            "unknown_rule",
            "unknown rule 'minLength', it is not checked; did you mean 'min_length'?",
            "warning",
        ),
        ("string", {"#": 1}, "unknown_rule", "unknown rule '#', it is not checked", "warning"),
    ],
)
def test_a_rule_that_cannot_work_is_told_at_its_place(kind, rules, code, sentence, severity):
    where = "['#']" if "#" in rules else f".{next(iter(rules))}"
    assert flaws(field("x", kind, **rules)) == [
        (f"input.{code}", f"flow_inputs[0].validation{where}", f"Input x: {sentence}", severity)
    ]


def test_two_limits_are_compared_only_when_both_are_sound():
    assert [
        code for code, *_ in flaws(field("x", "number", min=1, max=2), field("y", "number", min=5, max="x"))
    ] == ["input.rule_value"]


def test_a_default_must_keep_its_own_rules():
    assert flaws(
        field("a", default="ab", min_length=3),
        field("b", "integer", default="5"),
        field("c", default=None, min_length=3),
        field("d", "password", default="hunter2", pattern="^x"),
        field("e", "strng", default=5),
    )[:-1] == [
        ("input.min_length", "flow_inputs[0].default", "Input a: default: minimum length is 3", "error"),
        (
            "input.type",
            "flow_inputs[1].default",
            "Input b: default: invalid type 'string', must be integer",
            "error",
        ),
        ("input.pattern", "flow_inputs[3].default", "Input d: default: pattern does not match", "error"),
    ]


def test_required_together_with_a_default_is_a_warning():
    assert flaws(field(required=True, default="a")) == [
        (
            "input.required_default",
            "flow_inputs[0].default",
            "Input x: required, and has a default that makes a value never missing; drop one of them",
            "warning",
        )
    ]


def test_every_rule_of_the_documents_is_known():
    documented = "min_length max_length pattern min max integer options allowed_values allowed_domains min_items max_items unique_items allowed_types max_size format"
    assert set(inputs.RULES) == set(documented.split())
    assert set(TYPES) == {
        "string",
        "number",
        "boolean",
        "email",
        "password",
        "object",
        "array",
        "file",
        "date",
        "json",
        "url",
        "integer",
    }
