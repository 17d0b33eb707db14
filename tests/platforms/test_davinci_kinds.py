"""What the reference says of each kind of DaVinci's nodes is what becomes of it, and no kind is missing."""

import pytest

from runner.core.answers import listed
from runner.core.document import Document
from runner.core.kinds import KINDS
from runner.core.plan import build_plan
from runner.platforms import read
from runner.platforms.davinci_gates import COMPARISONS
from runner.platforms.davinci_nodes import DOES
from tests.davinci import Drawing, note

TABLE = KINDS["davinci"]
COMPARED = "functionsConnector/A…B, AIsEmpty, stringAContainsB, arrayOfAIncludesB"
EXAMPLES = {
    "httpConnector/*": ["httpConnector/customHTMLTemplate", "httpConnector/continuePolling", "httpConnector/createQr"],
    COMPARED: sorted(f"functionsConnector/{name}" for name in COMPARISONS - {"AEqualsMultipleB"}),
    "any other node": ["pingOneSSOConnector/readUser", "stringsConnector/join", "flowConnector/oobLink", "challengeConnector/x"],
}  # fmt: skip


def drawings():
    begin = "variablesConnector/saveValue"
    for name in TABLE:
        for kind in EXAMPLES.get(name, [name] if "/" in name and "*" not in name else []):
            drawing = (
                Drawing()
                .add("a", begin)
                .add("j", "nodeConnector/goToNode", nodeInstanceId="x" if kind.endswith("startNode") else "s")
            )
            if kind.endswith("startNode"):
                yield name, drawing.add("x", kind).then("a", "j")
            elif kind.endswith("goToNode"):
                yield name, drawing.add("s", "nodeConnector/startNode").then("a", "j")
            elif kind.startswith("flowConnector/start"):
                yield name, Drawing().add("a", kind, subFlowId="f2")
            else:
                yield name, Drawing().add("a", begin).add("x", kind).then("a", "x")
    yield "EVAL", Drawing().add("a", begin).add("b", begin).then("a", "b")
    start = Drawing().add("a", "x/y").add("b", begin).then("a", "b")
    start.nodes[0]["data"]["nodeType"] = "START"
    yield "START", start
    noted = Drawing().add("a", begin)
    noted.nodes.append(note("remark"))
    yield "ANNOTATION", noted
    for name, key, value in (
        ("a disabled node", "isDisabled", True),
        ("routing by `outcomes`", "outcomes", [{"id": "1"}]),
    ):
        odd = Drawing().add("a", begin)
        odd.nodes[0]["data"][key] = value
        yield name, odd


@pytest.mark.parametrize(
    ("name", "drawing"), list(drawings()), ids=lambda one: one if isinstance(one, str) else ""
)
def test_what_the_table_says_of_a_kind_is_what_becomes_of_it(name, drawing):
    inner = Drawing().add("i", "variablesConnector/saveValue").export("Inner", "f2")
    plan = build_plan(read(Document.of({"flows": [drawing.export(), inner]})))
    asked = listed(plan)
    found = "refused" if plan.errors else "given" if asked else "run"
    is_kept = len(plan.steps) < len([one for one in drawing.nodes if one["data"]["nodeType"] != "EVAL"])
    assert ("kept" if is_kept else found) == TABLE[name].fate


def test_no_kind_is_missing_from_the_table():
    assert {name for name, _ in drawings()} == set(TABLE)
    assert set(DOES) <= set(TABLE)
