"""What differs between two documents, where the objects of a list have ids."""

import pytest

from runner.platforms.differences import changes, shown, unlike


@pytest.mark.parametrize(
    ("one", "other", "lines"),
    [
        ({"name": "a"}, {"name": "a"}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, ["a: 1 -> true"]),
        ({"a": []}, {"a": {}}, ["a: [] -> {}"]),
        ({"s": {"z": "UTC"}}, {"s": {"z": "Asia/Kolkata"}}, ['s.z: "UTC" -> "Asia/Kolkata"']),
        ({}, {"a": 1}, ["a: nothing -> 1"]),
        (
            {"n": [{"id": "1", "x": 1}, {"id": "2"}]},
            {"n": [{"id": "3"}, {"id": "1", "x": 2}]},
            ["n[1].x: 1 -> 2", 'n[2]: {"id": "2"} -> nothing', 'n[3]: nothing -> {"id": "3"}'],
        ),
        (
            {"n": [{"id": "1"}, {"id": "2"}]},
            {"n": [{"id": "2"}, {"id": "1"}]},
            ['the order of n: ["1", "2"] -> ["2", "1"]'],
        ),
        ({"n": [{"id": "1"}, {"id": "1"}]}, {"n": [{"id": "1"}]}, ['n[1]: {"id": "1"} -> nothing']),
        ({"n": [1, 2]}, {"n": [1]}, ["n[1]: 2 -> nothing"]),
        ({"n": []}, {"n": [{"id": "1"}]}, ['n[1]: nothing -> {"id": "1"}']),
    ],
)
def test_each_difference_is_a_line(one, other, lines):
    assert changes(one, other, by_id=True) == lines


def test_without_ids_the_items_of_lists_are_compared_by_their_place():
    pair = [{"id": "1"}], [{"id": "2"}]
    assert list(unlike(*pair, "n")) == [("n[0].id", "1", "2")]


def test_what_counts_as_empty_is_up_to_the_caller():
    assert list(unlike({}, [], "x", empty=([], {}))) == []


def test_a_long_value_is_cut():
    assert shown("x" * 99) == '"' + "x" * 58 + "…"
