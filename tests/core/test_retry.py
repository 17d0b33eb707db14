"""Whether and when an attempt is made again (SEMANTICS, Retry and idempotency; DESIGN 3, Retry)."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.commands import NoResponse, Response
from runner.core.model import Retry
from runner.core.retry import (
    RETRIED_STATUSES,
    Again,
    Enough,
    RetryPolicy,
    decide,
    idempotency_key,
    interval,
    may_resend_silently,
    resolve_policy,
    retry_after,
)

THREE = RetryPolicy(max_attempts=3, jitter=False)
FINAL = Enough("final")
WITHHELD = Enough("withheld")


def status(code, retry_after=None, received_at=0.0):
    headers = () if retry_after is None else (("retry-AFTER", retry_after),)
    return Response(code, headers, received_at=received_at)


def lost(phase="sent", code="http.timeout", *, reused=False):
    return NoResponse(phase, code, "x", "x", reused)


def decision(reply, attempt=1, policy=THREE, *, method="GET", keyed=False, draw=0.5, acted=False):
    return decide(policy, reply, attempt, method=method, keyed=keyed, draw=draw, acted=acted)


# --- settings ------------------------------------------------------------------------------------


def test_without_settings_nothing_is_retried():
    assert resolve_policy([]) == resolve_policy([(None, None), (None, 0)]) == RetryPolicy()
    assert RetryPolicy().max_attempts == 1


def test_the_defaults_are_200_ms_doubled_up_to_10_s_with_full_jitter():
    assert RetryPolicy() == RetryPolicy(1, 0.2, 2.0, 10.0, True, RETRIED_STATUSES, False, 60.0)
    assert {408, 425, 429, 500, 502, 503, 504} == RETRIED_STATUSES


@pytest.mark.parametrize(
    ("step", "step_count", "config", "config_count", "attempts"),
    [
        (5, 1, 7, 2, 5),
        (None, 1, 7, 2, 2),
        (None, 0, 7, 2, 1),
        (None, None, 7, 2, 7),
        (None, None, None, 2, 3),
    ],
)
def test_the_more_specific_setting_of_the_attempts_wins(step, step_count, config, config_count, attempts):
    levels = [(Retry(max_attempts=step), step_count), (Retry(max_attempts=config), config_count)]
    assert resolve_policy(levels).max_attempts == attempts


def test_each_field_is_taken_from_the_first_level_that_has_it():
    step = Retry(initial_interval=0, jitter="none", statuses=[])
    config = Retry(
        initial_interval=50, backoff_coefficient=3, maximum_interval=1500, jitter="full", statuses=[418],
        unsafe=True, max_retry_after=2500, max_attempts=4,
    )  # fmt: skip
    expected = RetryPolicy(4, 0.0, 3.0, 1.5, False, frozenset(), True, 2.5)
    assert resolve_policy([(step, None), (config, 0)]) == expected
    assert resolve_policy([(config, None), (step, 0)]) == replace(
        expected, initial_interval=0.05, jitter=True, statuses=frozenset({418})
    )


def test_a_false_of_the_step_wins_over_a_true_of_the_flow():
    assert resolve_policy([(Retry(unsafe=False), None), (Retry(unsafe=True), None)]).unsafe is False


# --- decisions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(RETRIED_STATUSES))
def test_passing_statuses_are_retried(code):
    assert decision(status(code)) == Again(0.2)


@pytest.mark.parametrize("code", [100, 200, 301, 400, 401, 403, 404, 409, 422, 501, 505])
def test_other_statuses_are_final(code):
    assert decision(status(code)) == FINAL


def test_the_statuses_of_the_step_replace_the_usual_ones():
    policy = replace(THREE, statuses=frozenset({404}))
    assert decision(status(404), policy=policy) == Again(0.2)
    assert decision(status(503), policy=policy) == FINAL


@pytest.mark.parametrize("code", ["http.connect", "http.dns", "http.timeout", "http.reset"])
def test_trouble_that_may_pass_is_retried(code):
    assert decision(lost("unsent", code)) == Again(0.2)


@pytest.mark.parametrize("code", ["http.tls", "http.url", "http.protocol", "http.proxy", "limit.response"])
def test_trouble_that_stays_is_final(code):
    assert decision(lost("unsent", code)) == FINAL


def test_the_last_attempt_is_the_last():
    assert decision(status(503), 2) == Again(0.4)
    assert decision(status(503), 3) == Enough("exhausted")


def test_nothing_is_withheld_where_nothing_would_be_retried():
    assert decision(status(500), policy=RetryPolicy(), method="POST") == FINAL
    assert decision(status(500), 3, method="POST") == Enough("exhausted")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("reply", [status(500), lost("sent"), lost("partial", "http.reset")])
def test_methods_that_may_be_repeated_are(method, reply):
    assert decision(reply, method=method) == Again(0.2)


UNCERTAIN = [
    status(500),
    status(408),
    status(503),
    status(503, "soon"),
    lost("sent"),
    lost("partial", "http.reset"),
]
CERTAIN = [lost("unsent"), lost("unsent", "http.connect"), status(429), status(503, "0")]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("reply", UNCERTAIN)
def test_a_post_is_withheld_where_the_server_may_have_acted(method, reply):
    assert decision(reply, method=method) == WITHHELD
    assert decision(reply, method=method, keyed=True) == Again(0.2)
    assert decision(reply, method=method, policy=replace(THREE, unsafe=True)) == Again(0.2)


@pytest.mark.parametrize("reply", CERTAIN)
def test_a_post_is_retried_where_the_server_cannot_have_acted(reply):
    assert isinstance(decision(reply, method="POST"), Again)
    assert isinstance(decide(THREE, reply, 1, method="POST", keyed=False, draw=0.5), Again)


@pytest.mark.parametrize("reply", [*UNCERTAIN, *CERTAIN])
def test_a_post_that_another_server_has_taken_is_withheld_whatever_came_after(reply):
    assert decision(reply, method="POST", acted=True) == WITHHELD
    assert isinstance(decision(reply, method="POST", acted=True, keyed=True), Again)
    assert isinstance(decision(reply, method="PUT", acted=True), Again)


def test_retry_after_wins_over_the_interval_up_to_its_limit():
    assert decision(status(503, "0")) == Again(0.0)
    assert decision(status(500, "60")) == Again(60.0)
    assert decision(status(503, "61")) == Enough("after_too_long", 61.0)
    assert decision(status(503, "61"), policy=replace(THREE, max_retry_after=61.0)) == Again(61.0)


def test_a_retry_after_on_a_final_status_is_not_looked_at():
    assert decision(status(404, "9999")) == FINAL
    assert decision(status(503, "9999"), 3) == Enough("exhausted")


# --- intervals -----------------------------------------------------------------------------------

POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 1000),
    initial_interval=st.floats(0, 3600),
    backoff_coefficient=st.floats(1, 100),
    maximum_interval=st.floats(0, 86_400),
    jitter=st.booleans(),
)


def test_intervals_grow_by_the_coefficient_up_to_the_maximum():
    found = [interval(RetryPolicy(jitter=False), attempt, 0.9) for attempt in range(1, 9)]
    assert found == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_small_coefficient_keeps_growing():
    policy = RetryPolicy(backoff_coefficient=1.01, maximum_interval=1000.0, jitter=False)
    assert interval(policy, 500, 0.0) == pytest.approx(0.2 * 1.01**499)


@given(POLICIES, st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_an_interval_lies_between_0_and_the_maximum(policy, attempt, draw):
    assert 0 <= interval(policy, attempt, draw) <= policy.maximum_interval


@given(POLICIES, st.integers(1, 999))
def test_the_longest_wait_never_shrinks(policy, attempt):
    fixed = replace(policy, jitter=False)
    assert interval(fixed, attempt, 0.0) <= interval(fixed, attempt + 1, 0.0)


@given(POLICIES, st.integers(1, 1000), st.floats(0, 1, exclude_max=True))
def test_full_jitter_takes_the_drawn_part_of_the_interval(policy, attempt, draw):
    whole = interval(replace(policy, jitter=False), attempt, draw)
    assert interval(replace(policy, jitter=True), attempt, draw) == whole * draw


def test_an_interval_too_large_to_count_is_the_maximum_and_nothing_stays_nothing():
    policy = RetryPolicy(backoff_coefficient=100.0, jitter=False)
    assert interval(policy, 1000, 0.0) == 10.0
    assert interval(replace(policy, initial_interval=0.0), 1000, 0.0) == 0.0


# --- Retry-After ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), (" 120 ", 120.0), ("007", 7.0), ("9" * 400, 999_999_999_999.0)],
)
def test_retry_after_in_seconds(text, seconds):
    assert retry_after(status(503, text)) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "-1", "1.5", "1, 2", "١", "0x10", "Thu, 99 Foo 2026 00:00:00 GMT", "+5"]
)
def test_a_retry_after_that_says_nothing_is_none(text):
    assert retry_after(status(503, text)) is None


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 -0000",
        "Sun, 06 Nov 1994 09:49:37 +0100",
    ],
)
def test_retry_after_takes_each_form_of_a_date(text):
    assert retry_after(status(503, text, received_at=784_111_770.5)) == 6.5


def test_a_date_that_has_passed_asks_for_no_wait():
    assert retry_after(status(503, "Sun, 06 Nov 1994 08:49:37 GMT", received_at=784_111_778.0)) == 0.0


@given(st.integers(0, 4_000_000_000), st.floats(0, 4e9), st.integers(-1439, 1439))
def test_a_date_is_counted_from_the_arrival_of_the_answer(then, now, minutes):
    date = datetime.fromtimestamp(then, UTC).astimezone(timezone(timedelta(minutes=minutes)))
    assert retry_after(status(503, format_datetime(date), now)) == max(0.0, then - now)


@given(st.text())
def test_whatever_stands_there_is_seconds_or_nothing(text):
    seconds = retry_after(status(503, text))
    assert seconds is None or seconds >= 0


def test_without_an_answer_or_a_header_there_is_no_retry_after():
    assert retry_after(lost()) is None
    assert retry_after(status(503)) is None


# --- silent resend -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "QUERY"])
def test_a_request_lost_on_a_kept_connection_may_be_sent_again(method):
    assert may_resend_silently(method, lost("sent", "http.reset", reused=True))


@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
def test_a_request_that_may_have_acted_may_not_be_sent_again_unless_nothing_left(method):
    assert not may_resend_silently(method, lost("sent", "http.reset", reused=True))
    assert may_resend_silently(method, lost("unsent", "http.reset", reused=True))


@pytest.mark.parametrize(
    "reply",
    [
        status(503),
        lost("sent", "http.reset"),
        lost("partial", "http.reset", reused=True),
        lost("sent", "http.timeout", reused=True),
    ],
)
def test_any_other_loss_is_not_resent_silently(reply):
    assert not may_resend_silently("GET", reply)


# --- idempotency keys ----------------------------------------------------------------------------

IDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


def test_a_key_is_a_known_function_of_run_path_and_round():
    # base64url(SHA-256("run" 0 "a" 0 "0"))[:32], computed with sha256sum and base64
    assert idempotency_key("run", "a") == idempotency_key("run", "a", 0) == "PWEleBqHmaBfowvify8fgN-asLijnxOH"


@given(IDS, IDS, st.integers(0, 9))
def test_a_key_is_32_characters_that_may_stand_in_a_header(origin, path, repeat):
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", idempotency_key(origin, path, repeat))


@given(st.tuples(IDS, IDS, st.integers(0, 9)), st.tuples(IDS, IDS, st.integers(0, 9)))
def test_keys_are_equal_exactly_when_run_path_and_round_are(one, two):
    assert (idempotency_key(*one) == idempotency_key(*two)) == (one == two)
