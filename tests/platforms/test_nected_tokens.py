"""Tokens of Nected: which name they begin with, and where they lead."""

import pytest

from runner.platforms.nected_tokens import (
    Token,
    Tokens,
    Unreadable,
    inside_of,
    operand,
    pieces,
    replaced,
    spelled,
)
from runner.platforms.time_zones import TIME_ZONES

TOKENS = Tokens.of(["MS-SQL(PROD)", "A", "A.output", "Get user", "Rule_name", "A[0]"])


@pytest.mark.parametrize(
    ("inside", "name", "path"),
    [
        (".MS-SQL(PROD).output[0].optname", "MS-SQL(PROD)", ("output", 0, "optname")),
        (".Get_user.output", "Get_user", ("output",)),
        (".Rule_name.action.a", "Rule_name", ("action", "a")),
        (".A.x", "A", ("x",)),
        (".A", "A", ()),
        (".A.outputs", "A", ("outputs",)),
        (".Trigger.f", "Trigger", ("f",)),
        (".customInput.orderQuantity", "customInput", ("orderQuantity",)),
        (".globalVar.rate", "globalVar", ("rate",)),
        (".dataSet.x", "dataSet", ("x",)),
        (".additionalData.x", "additionalData", ("x",)),
        (".systemVar.NULL", "systemVar", ("NULL",)),
        ("systemVar.ExecutionId", "systemVar", ("ExecutionId",)),
        ("systemVar.Environment", "systemVar", ("Environment",)),
        (""".A["a b"]['c.d'][10].e-f""", "A", ("a b", "c.d", 10, "e-f")),
    ],
)
def test_a_token_is_a_name_and_a_path(inside, name, path):
    assert TOKENS.read(inside) == Token(name, path)


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (".A.output.x", Token("A.output", ("x",))),
        (".A.output", Token("A.output", ())),
        (".A[0].x", Token("A[0]", ("x",))),
    ],
)
def test_the_longest_name_wins(inside, expected):
    assert TOKENS.read(inside) == expected


@pytest.mark.parametrize(
    ("inside", "what"),
    [
        (".Get_usr.x", "{{.Get_usr.x}}: no node 'Get_usr'; did you mean 'Get_user'?"),
        (
            ".Zzzzzzzzz",
            "{{.Zzzzzzzzz}}: no node 'Zzzzzzzzz'; a token begins with the name of a node that runs before",
        ),
        (".A..b", "{{.A..b}}: '..b' is no path; write .name or [0]"),
        (".A[x]", "{{.A[x]}}: '[x]' is no path; write .name or [0]"),
        (".", "{{.}}: no node ''; a token begins with the name of a node that runs before"),
    ],
)
def test_a_token_that_leads_nowhere_says_why(inside, what):
    assert TOKENS.read(inside) == Unreadable(what)


def test_tokens_are_found_in_texts_and_other_braces_are_none():
    text = "a {{ .A.x }} {{systemVar.NULL}} {{env.X}} {{.B {{.C.y}} {{systemVariable.x}}"
    assert list(inside_of(text)) == [".A.x", "systemVar.NULL", ".C.y"]
    assert list(pieces("x{{.A}}y")) == [("x", ".A"), ("y", "")]
    assert replaced("x{{.A }}y", lambda inside: f"<{inside}>") == "x<.A>y"


def test_many_open_braces_are_read_in_no_time():
    assert list(inside_of("{{." * 200_000)) == []


def test_a_name_is_spelled_with_underscores():
    assert spelled(" Get  the user ") == "Get_the_user"


def test_odd_names_are_quoted_in_our_templates():
    assert operand("a", ("b", 0, "c d", "it's", "e-f")) == """a.b[0]['c d']["it's"]['e-f']"""


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
def test_names_of_iana_are_time_zones(zone):
    assert zone in TIME_ZONES


@pytest.mark.parametrize("zone", ["", "IST+5", "Asia/Kolkatta", "asia/kolkata", "Mars/Base"])
def test_other_names_are_no_time_zones(zone):
    assert zone not in TIME_ZONES
