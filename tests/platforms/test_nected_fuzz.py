"""Whatever stands in a document of Nected or in its bindings, there are problems and no traceback."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.document import Document
from runner.core.plan import build_plan
from runner.errors import FlowError, Problem
from runner.platforms import convert, read
from runner.platforms.aids import Aids
from runner.platforms.nected import problems_of, recognises
from tests.platforms.nected_samples import BINDINGS, ORDERS

WORDS = st.sampled_from([
    "", "1", "2", "9", "then", "else", "trigger", "apiTrigger", "codeNode", "loopNode", "addNodeMd", "switchNode",
    "Get customer", "Review", "{{.Review.by}}", "{{.Nope.x}}", "{{.Trigger}}", "{{.Get_customer.output[0]['a b']}}",
    "{{systemVar.NULL}}", "{{.dataSet.x}}", "{{", "{{.", "{%", "{{ 1 + }}", "UTC", "Mars/Base", "data.settings.code",
    "numeric", "5x", "high", "error", "{{input.x}}", "\u2028", "a'b\"c",
])  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "name", "data", "input", "value", "source", "pathId", "status", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


def paths(value, path=()):
    """Return the way to every part of a value."""
    yield path
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, one in members:
        yield from paths(one, (*path, key))


def changed(value, path, new):
    """Return a value with another at this path, or without it."""
    if not path:
        return new
    made = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is ...:
        del made[path[0]]
    else:
        made[path[0]] = changed(made[path[0]], path[1:], new)
    return made


@st.composite
def broken(draw, sample):
    """Draw the sample with up to four parts of it removed or replaced."""
    made = sample
    for _ in range(draw(st.integers(1, 4))):
        every = [one for one in paths(made) if one]
        if not every:
            break
        path = draw(st.sampled_from(every))
        made = changed(made, path, draw(VALUES | st.just(...)))
    return made


def judged(document, aids):
    """Do all that can be done with a document; everything that is wrong has to be a Problem."""
    flow = read(document, "nected", aids)
    plan = build_plan(flow)
    assert all(isinstance(one, Problem) for one in (*plan.problems, *problems_of(document)))
    with suppress(FlowError):
        made, _ = convert(document, "steps", "nected", aids)
        with suppress(FlowError):
            convert(Document.of(made), "nected")


@settings(max_examples=200)
@given(broken(ORDERS), st.booleans())
def test_a_broken_workflow_has_problems_and_no_traceback(value, recorded):
    document = Document.of(value)
    if recognises(document):
        judged(document, Aids(recorded=recorded))


@settings(max_examples=60)
@given(broken(BINDINGS))
def test_broken_bindings_have_problems_and_no_traceback(value):
    judged(Document.of(ORDERS), Aids(Document.of(value)))


@settings(max_examples=60)
@given(st.data())
def test_broken_steps_of_a_workflow_have_problems_and_no_traceback(data):
    made, _ = convert(Document.of(ORDERS), "steps")
    with suppress(FlowError):
        convert(Document.of(data.draw(broken(made))), "nected", "steps")


@pytest.mark.soak
@settings(max_examples=10_000)
@given(broken(ORDERS), broken(BINDINGS))
def test_ten_thousand_broken_workflows_have_problems_and_no_traceback(value, bindings):
    document = Document.of(value)
    if recognises(document):
        with suppress(FlowError):
            judged(document, Aids(Document.of(bindings)))
