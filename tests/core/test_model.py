"""What a step is follows from its keys (SEMANTICS, Steps, containers, commands)."""

import pytest

from runner.core.model import UNSET, Flow, Step
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


def test_a_step_is_small():
    assert not hasattr(Step(), "__dict__")
    assert repr(UNSET) == "UNSET"
