"""The language between core and runtime: headers are compared without case, values cannot be changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.commands import Request, SendRequest, TokenSpec, header, without

HEADERS = (("X-A", "1"), ("x-b", "2"), ("x-a", "3"))


@pytest.mark.parametrize("name", ["x-a", "X-A", "X-a"])
def test_a_header_is_found_in_any_case_and_repeated_ones_are_joined(name):
    assert header(HEADERS, name) == "1, 3"


def test_a_header_that_is_not_there_is_none_and_an_empty_one_is_empty():
    assert header(HEADERS, "x-c") is None
    assert header((), "x-a") is None
    assert header((("X-A", ""),), "x-a") == ""


def test_headers_are_left_out_in_any_case_and_the_others_keep_order_and_spelling():
    assert without(HEADERS, ["X-A", "nothing"]) == (("x-b", "2"),)
    assert without(HEADERS, []) == HEADERS


NAMES = st.sampled_from(["a", "A", "b", "B", "c"])


@given(st.lists(st.tuples(NAMES, st.text())).map(tuple), st.lists(NAMES))
def test_what_is_left_out_is_not_found_and_the_rest_is_unchanged(headers, dropped):
    left = without(headers, dropped)
    gone = {name.lower() for name in dropped}
    for name in "abc":
        assert header(left, name) == (None if name in gone else header(headers, name))


def test_a_request_is_accepted_for_2xx_unless_told_otherwise():
    command = SendRequest(Request("GET", "u"), 1.0)
    assert command.accepted == (range(200, 300),)
    assert command.capture


def test_a_token_is_the_same_whoever_asks_however_patiently():
    one = TokenSpec("u", "i", "s", timeout=1, max_attempts=1)
    assert {one, TokenSpec("u", "i", "s", timeout=2, max_attempts=5)} == {one}
    assert one != TokenSpec("u", "i", "other")
    assert one != TokenSpec("u", "i", "s", scope="x")
    assert one != TokenSpec("u", "i", "s", client_auth="body")
