"""Retries as a server sees them (DESIGN 3, Retry; SEMANTICS, Retry and idempotency)."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import runner
from tests.servers import ApiServer, Reply


def go(*answers, **step):
    flow = {
        "name": "r",
        "flow_data": {
            "version": "1.0",
            "steps": [{"id": "a", "method": "GET", "url": "{{env.API}}/a", **step}],
        },
    }
    with ApiServer() as api:
        api.on("/a", *answers)
        return api, runner.run_sync(flow, env={"API": api.origin})


def attempts(result):
    return [span for span in result.integration_flow().spans if span.kind == "client"]


def test_two_failures_and_an_answer_make_three_attempts():
    _, result = go(Reply(503), Reply(503), Reply(), retryCount=2, retry={"initialInterval": 1})
    assert result.ok
    assert result.steps[0].attempts == 3
    assert [span.attributes.get("http.request.resend_count") for span in attempts(result)] == [None, 1, 2]
    assert [span.status for span in attempts(result)] == ["error", "error", "unset"]
    assert [span.status for span in result.integration_flow().spans[:2]] == ["unset", "unset"]


def test_retry_after_in_seconds_is_waited_for():
    api, result = go(Reply(503, headers=[("Retry-After", "1")]), Reply(), retryCount=1)
    assert result.ok
    assert 1 <= api.requests[1].at - api.requests[0].at < 5


def test_retry_after_as_a_date_is_waited_for():
    def busy(request):
        # A date has whole seconds: two ahead is at least one, however far the second has gone.
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return Reply(503, headers=[("Retry-After", date)])

    api, result = go(busy, Reply(), retryCount=1)
    assert result.ok
    assert 1 <= api.requests[1].at - api.requests[0].at < 5


def test_a_post_that_got_a_500_is_not_sent_again_and_its_span_says_so():
    api, result = go(Reply(500), method="POST", retryCount=2)
    assert len(api.requests) == 1
    step = result.integration_flow().spans[1]
    ((name, _, attributes),) = [event for event in step.events if event[0] != "exception"]
    assert name == "retry.withheld"
    assert "idempotencyKey" in attributes["runner.reason"]


@pytest.mark.parametrize("answer", [Reply(429), Reply(503, headers=[("Retry-After", "0")])])
def test_a_post_that_was_turned_away_is_sent_again(answer):
    api, result = go(answer, Reply(), method="POST", retryCount=1, retry={"initialInterval": 1})
    assert result.ok
    assert len(api.requests) == 2


def test_an_expected_404_passes():
    api, result = go(Reply(404), expectedStatus=404, retryCount=3)
    assert result.ok
    assert len(api.requests) == 1


def test_nobody_listening_is_retried_and_told():
    with ApiServer() as api:
        origin = api.origin
    flow = {"version": "1.0", "steps": [{"id": "a", "method": "POST", "url": "{{env.API}}/a", "retryCount": 1,
            "retry": {"initialInterval": 1}}]}  # fmt: skip
    result = runner.run_sync(flow, env={"API": origin})
    assert result.steps[0].error.code == "http.connect"
    assert result.steps[0].attempts == 2
    assert "(after 2 attempts)" in result.steps[0].error.message


def test_without_retry_settings_nothing_is_retried():
    api, _ = go(Reply(503))
    assert len(api.requests) == 1
