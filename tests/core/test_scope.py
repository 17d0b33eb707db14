import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.reference import parse_path
from runner.core.scope import NOTHING, RunValues, Scope, SecretNames
from runner.errors import StepError


def scope(**changes):
    given = {
        "inputs": {
            "username": "ada",
            "user": {"role": "admin"},
            "list": [1, 2],
            "nothing": None,
            "register": "shadowed",
        },
        "env": {"API_URL": "https://api.example.com", "baseUrl": "http://b", "username": "hidden"},
        "headers": {"X-Request-ID": "abc"},
        "outputs": {"register": {"userId": 42, "activationToken": "tok"}},
        "run": RunValues("run-1", 1_700_000_000.9),
    } | changes
    return Scope(**given)


def value(text, where=None):
    return (where or scope()).value(parse_path(text))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("input.username", "ada"),
        ("input.user.role", "admin"),
        ("input.list[1]", 2),
        ("input.list.0", 1),
        ("input.nothing", None),
        ("env.API_URL", "https://api.example.com"),
        ("headers.x-request-id", "abc"),
        ("headers['X-REQUEST-ID']", "abc"),
        ("register.userId", 42),
        ("register", {"userId": 42, "activationToken": "tok"}),
        ("username", "ada"),
        ("user.role", "admin"),
        ("baseUrl", "http://b"),
        ("env.CURRENT_TIMESTAMP", "2023-11-14T22:13:20Z"),
        ("$timestamp", 1_700_000_000),
    ],
)
def test_a_reference_reaches_its_value(text, found):
    assert value(text) == found


def test_an_env_value_of_the_user_wins_over_the_built_in_one():
    assert value("env.CURRENT_TIMESTAMP", scope(env={"CURRENT_TIMESTAMP": "mine"})) == "mine"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input.usernme", "no input 'usernme'; did you mean 'username'?"),
        ("input.user.rol", "no value at input.user.rol"),
        ("input.nothing.x", "no value at input.nothing.x"),
        ("env.API_ULR", "no env value 'API_ULR'; did you mean 'API_URL'?"),
        ("env.ZZ", "no env value 'ZZ'; give it with -e ZZ=…"),
        ("headers.accept", "no header 'accept' came with the run; give it with --header 'accept: …'"),
        (
            "register.activationTokn",
            "no output 'activationTokn' on step 'register'; did you mean 'activationToken'?",
        ),
        ("registr.userId", "no step with outputs, input or env value 'registr'; did you mean 'register'?"),
        (
            "zzzzzzz",
            "no step with outputs, input or env value 'zzzzzzz'; a step has outputs only once it succeeded",
        ),
        ("user.rol", "no value at user.rol"),
        ("item.id", "no value at item.id"),
        ("register.user-id", "(a dash belongs to the name; for minus put spaces around it)"),
        ("$uuid.x", "no value at $uuid.x"),
    ],
)
def test_a_missing_value_is_named_with_what_to_do(text, message):
    with pytest.raises(StepError) as caught:
        value(text, scope().child(item={}))
    assert caught.value.code == "reference.missing"
    assert caught.value.message.startswith(f"{{{{{text}}}}}: ")
    assert message in caught.value.message


def test_a_field_named_like_a_dict_method_is_a_field():
    where = scope(outputs={"order": {"items": [1], "keys": 2, "get": 3, "copy": 4}})
    assert [value(f"order.{name}", where) for name in ("items", "keys", "get", "copy")] == [[1], 2, 3, 4]


def test_a_number_reaches_an_object_that_has_it_as_a_name():
    assert value("input.o[0]", scope(inputs={"o": {"0": "zero"}})) == "zero"


def test_a_child_adds_roots_and_shares_the_rest():
    parent = scope()
    child = parent.child(item={"id": 7}, index=0).child(index=1)
    assert (value("item.id", child), value("index", child)) == (7, 1)
    assert child.names == {"item": {"id": 7}, "index": 1}
    parent.outputs["later"] = {"x": 1}
    assert value("later.x", child) == 1
    assert parent.root("item") is NOTHING


def test_rendering_again_at_the_same_path_gives_the_same_values():
    names = ("$uuid", "$randomInt", "$randomString", "$randomEmail", "$uuid")
    first, again, other = (
        [value(name, where) for name in names]
        for where in (scope().at("register"), scope().at("register"), scope().at("verify"))
    )
    assert first == again
    assert first[0] != first[4]
    assert not set(first) & set(other) - {first[1]}
    assert value("$uuid", scope(run=RunValues("run-2")).at("register")) != first[0]


def test_a_child_goes_on_counting_where_its_parent_is():
    where = scope().at("a")
    assert value("$uuid", where.child(item=1)) != value("$uuid", where)


def test_run_values_have_the_usual_shapes():
    where = scope().at("a")
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", value("$uuid", where)
    )
    assert 0 <= value("$randomInt", where) <= 1000
    assert re.fullmatch(r"[a-z0-9]{12}", value("$randomString", where))
    assert re.fullmatch(r"[a-z0-9]{12}@example\.com", value("$randomEmail", where))


def test_an_empty_scope_has_no_values_but_works():
    assert Scope().root("x") is NOTHING
    assert Scope().value(parse_path("env.CURRENT_TIMESTAMP")) == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("input.password", True),
        ("input.username", False),
        ("input", True),
        ("password", True),
        ("env.TOKEN", True),
        ("env.API_URL", False),
        ("env", True),
        ("TOKEN", True),
        ("register.token", True),
        ("register.token.part", True),
        ("register.userId", False),
        ("register", True),
        ("verify", False),
        ("headers.authorization", True),
        ("headers.Cookie", True),
        ("headers.accept", False),
        ("headers", True),
        ("item.x", True),
        ("index", False),
        ("$uuid", False),
    ],
)
def test_a_reference_is_secret_by_where_its_value_comes_from(text, secret):
    names = SecretNames(
        inputs=frozenset({"password"}),
        env=frozenset({"TOKEN", "index"}),
        outputs={("register", "token")},
        names=frozenset({"item"}),
    )
    where = scope(
        inputs={"password": "x", "username": "y"},
        outputs={"register": {"token": 1, "userId": 2}, "verify": {"z": 1}},
        secret=names,
    ).child(item=1, index=2)
    assert where.is_secret(parse_path(text)) is secret


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from("ab"), JSON),
    st.sampled_from(["input.a", "input.b[0]", "a.b.c", "s.a['x']", "s.0.1", "b[-1].a"]),
)
def test_a_reference_into_any_json_has_a_value_or_is_missing(values, text):
    with contextlib.suppress(StepError):
        value(text, scope(inputs=values, outputs={"s": values}))
