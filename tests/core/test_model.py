"""What a step is follows from its keys (SEMANTICS, Steps, containers, commands)."""

import pytest

from runner.core.model import UNSET, Flow, Step, Steps, stream
from runner.errors import Problem
from tests.play import flow_of


def step(**keys):
    return flow_of({"id": "a", **keys}).steps[0]


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"method": "GET", "url": "/x"}, "http"),
        ({"url": "/x"}, "http"),
        ({"method": "GET", "url": "/x", "condition": "true", "delay": 5}, "http"),
        ({"endpointId": "e"}, "http"),
        ({"endpoint": "e", "condition": "true"}, "http"),
        ({}, "http"),
        ({"condition": "true"}, "condition"),
        ({"delay": 5}, "delay"),
        ({"duration": 5, "condition": "true"}, "delay"),
        ({"set": {"x": 1}}, "set"),
        ({"flow": "x.json"}, "flow"),
    ],
)
def test_the_kind_of_a_step_follows_from_its_keys(keys, kind):
    assert step(**keys).kind == kind


def test_a_delay_has_two_spellings():
    assert (step(delay=5).delay_ms, step(duration=7).delay_ms, step().delay_ms) == (5, 7, 0)


def test_one_assertion_or_dependency_may_stand_without_its_list():
    assert step(**{"assert": "true"}).assertions == ("true",)
    assert step(**{"assert": ["a", "b"]}).assertions == ("a", "b")
    assert step(dependsOn="x").needs == ("x",)
    assert step(dependsOn=["x", "y"]).needs == ("x", "y")


def test_a_step_is_called_by_its_name_or_its_id():
    assert step(name="Anna").label == "Anna"
    assert step().label == "a"


def test_a_flow_is_called_by_its_name_its_file_or_what_it_is():
    assert Flow(name="n", stem="s").label == "n"
    assert Flow(stem="s").label == "s"
    assert Flow().label == "flow"


def test_paths_of_a_flow_are_relative_to_its_own_folder():
    assert Flow(source="a/b/c.json").folder == "a/b"
    assert Flow(source="c.json").folder == ""


def test_a_step_that_was_read_holds_what_was_given_and_nothing_else():
    assert vars(step(method="GET", timeout=5)) == {"id": "a", "method": "GET", "timeout": 5}
    assert step(method="GET") == Step(id="a", method="GET")
    assert (step().headers, step().timeout, step().follow_redirects) == ({}, None, True)
    assert repr(UNSET) == "UNSET"


# --- steps that are read when they are asked for


def reading(raw):
    """Return steps of which each third is wrong, and the numbers of those that were read."""
    seen = []

    def read(part, start, problems):
        seen.extend(range(start, start + len(part)))
        problems += [
            Problem("x", f"steps[{at}]", "") for at in range(start, start + len(part)) if at % 3 == 2
        ]
        return [Step.of(dict(one)) for one in part]

    return Steps(raw, read), seen


def test_steps_are_read_part_by_part_with_what_is_wrong_with_them():
    steps, seen = reading([{"id": f"s{number}"} for number in range(Steps.CHUNK + 2)])
    problems = []
    reader = stream(steps, problems)
    assert next(reader).id == "s0"
    assert len(seen) == Steps.CHUNK
    assert [step.id for step in reader][-1] == f"s{Steps.CHUNK + 1}"
    assert [problem.where for problem in problems] == [f"steps[{at}]" for at in range(2, Steps.CHUNK + 2, 3)]


def test_steps_that_are_indexed_are_read_once_and_kept():
    steps, seen = reading([{"id": f"s{number}"} for number in range(3)])
    assert (len(steps), steps[2].id, [one.id for one in steps[:2]]) == (3, "s2", ["s0", "s1"])
    assert steps[0] is steps[0]
    assert [one.id for one in steps] == ["s0", "s1", "s2"]
    assert seen == [0, 1, 2]


def test_a_document_that_can_be_read_again_is_let_go_of_as_its_steps_are_read():
    raw = [{"id": f"s{number}"} for number in range(Steps.CHUNK + 1)]
    steps, _ = reading(raw)
    steps.again = lambda: reading([{"id": "other"}])[0]
    reader = stream(steps, [])
    next(reader)
    assert raw == [None] * Steps.CHUNK + [{"id": f"s{Steps.CHUNK}"}]
    assert len(list(reader)) == Steps.CHUNK
    assert [step.id for step in stream(steps, [])] == ["other"]


def test_steps_that_are_there_are_streamed_as_they_are():
    steps = (Step(id="a"), Step(id="b"))
    assert list(stream(steps, [])) == list(steps)
