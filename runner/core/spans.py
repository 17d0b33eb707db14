"""What the span of each thing that happens in a run is called, and what stands on it.

HTTP attempts follow the stable HTTP client conventions v1.44, with the two deviations that
ARCHITECTURE.md names; the rest follows SEMANTICS, Trace.
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.core import names
from runner.core.actions import Spot
from runner.core.commands import Json, NoResponse, Outcome, Refused, Reply, Response, SendRequest
from runner.core.redact import MASK, mask_url
from runner.core.trace import Status
from runner.core.url import origin_of

SHOWN_RESPONSE_HEADERS = ("content-type", "content-length", "retry-after", "x-request-id", "location")
LONGEST_OUTPUT = 256
INTERRUPTED = {"cancelled": "cancelled", "timed_out": "timeout"}


def flow_attributes(label: str, trigger: str) -> dict[str, Json]:
    """Return the attributes of the root span at its start."""
    return {
        names.TASK_ID: label,
        names.TASK_TYPE: names.TASK_FLOW,
        names.WORKFLOW_DEFINITION_NAME: label,
        names.WORKFLOW_TRIGGER_TYPE: trigger,
    }


def part_attributes(label: str, run_id: str, owner: str, claim: int) -> dict[str, Json]:
    """Return the attributes of the part of a run that one worker had (messaging conventions)."""
    return {
        names.TASK_ID: label,
        names.TASK_TYPE: names.TASK_FLOW,
        names.MESSAGING_SYSTEM: "flowspan",
        names.MESSAGING_DESTINATION: "flows",
        names.MESSAGING_OPERATION: "process",
        names.MESSAGING_OPERATION_TYPE: "process",
        names.MESSAGING_MESSAGE_ID: run_id,
        names.MESSAGING_CLIENT_ID: owner,
        names.CLAIM: claim,
    }


def spot_name(spot: Spot) -> str:
    """Return the name of the span of a step, an iteration, a poll or a flow."""
    return names.step_span_name(spot.type, spot.id)


def spot_attributes(spot: Spot) -> dict[str, Json]:
    """Return the attributes of a step's span at its start."""
    attributes: dict[str, Json] = {
        names.TASK_ID: spot.id,
        names.TASK_TYPE: spot.type,
        names.WORKFLOW_TASK_NAME: spot.name,
    }
    if spot.path != spot.id:
        attributes[names.STEP_PATH] = spot.path
    if spot.index is not None:
        attributes[names.INDEX] = spot.index
    if spot.poll is not None:
        attributes[names.POLL] = spot.poll
    if spot.visit > 1:
        attributes[names.STEP_VISIT] = spot.visit
    return attributes


def outcome_status(outcome: Outcome) -> Status:
    """Return the status of a span that ended so; unset is what conventions want for success."""
    return "error" if outcome.status == "failed" else "unset"


def outcome_attributes(outcome: Outcome, *, outputs: bool, attempts: bool = True) -> dict[str, Json]:
    """Return what the end of a step, a container or the run adds to its span."""
    attributes: dict[str, Json] = {names.WORKFLOW_EXECUTION_RESULT: _result(outcome)}
    if outcome.status == "skipped":
        attributes[names.SKIP_REASON] = outcome.reason
        if outcome.detail:
            attributes[names.SKIP_DETAIL] = outcome.detail
    if outcome.attempts and attempts:
        attributes[names.STEP_ATTEMPTS] = outcome.attempts
    if outcome.handled:
        attributes[names.FAILURE_HANDLED] = True
    if outcome.source:
        attributes[names.EXTERNAL_SOURCE] = outcome.source
    if outcome.failure is not None:
        attributes[names.ERROR_TYPE] = error_type(outcome)
        attributes[names.ERROR_MESSAGE] = outcome.failure.message
        attributes[names.FAILURE_CODE] = outcome.failure.code
        if outcome.failure.where:
            attributes[names.FAILURE_PLACE] = outcome.failure.where
    if outputs and outcome.status == "succeeded":
        attributes.update(_output_attributes(outcome))
    return attributes


def failure_event(outcome: Outcome) -> dict[str, Json]:
    """Return the attributes of the exception event on the step that failed."""
    assert outcome.failure is not None
    return {
        names.EXCEPTION_TYPE: outcome.failure.code,
        names.EXCEPTION_MESSAGE: outcome.failure.message,
    }


def error_type(outcome: Outcome) -> str:
    """Return the low-cardinality name of a failure."""
    if outcome.ended_by:
        return INTERRUPTED[outcome.ended_by]
    return outcome.failure.code if outcome.failure is not None else "failed"


def request_attributes(command: SendRequest, task_id: str, task_type: str) -> dict[str, Json]:
    """Return the attributes of an attempt when it is sent."""
    try:
        scheme, host, port = origin_of(command.request.url)
    except ValueError:  # it cannot be sent, and has a span all the same
        scheme, host, port = "", "", 0
    attributes: dict[str, Json] = {
        names.TASK_ID: task_id,
        names.TASK_TYPE: task_type,
        **names.method_attributes(command.request.method),
        names.URL_FULL: mask_url(command.shown_url),
        names.SERVER_ADDRESS: host,
        names.SERVER_PORT: port,
        names.URL_SCHEME: scheme,
    }
    if command.template:
        attributes[names.URL_TEMPLATE] = command.template
    if command.resend:
        attributes[names.HTTP_REQUEST_RESEND_COUNT] = command.resend
    if command.request.body is not None:
        attributes[names.HTTP_REQUEST_BODY_SIZE] = len(command.request.body)
    return attributes


def reply_attributes(command: SendRequest, reply: Reply) -> dict[str, Json]:
    """Return what the answer, or the lack of one, adds to an attempt."""
    match reply:
        case Response():
            return _response_attributes(command, reply)
        case NoResponse():
            attributes: dict[str, Json] = {
                names.ERROR_TYPE: reply.error_type,
                names.ERROR_MESSAGE: reply.message,
            }
            if reply.status is not None:
                attributes[names.HTTP_RESPONSE_STATUS_CODE] = reply.status
            return attributes
        case Refused():
            return {names.ERROR_TYPE: reply.code, names.ERROR_MESSAGE: reply.message}
        case _:
            return {}


def reply_status(command: SendRequest, reply: Reply) -> Status:
    """Return the status of an attempt: ERROR from 400 on, but for a status that the step accepts."""
    if not isinstance(reply, Response):
        return "error"
    return "error" if reply.status >= 400 and not _accepts(command, reply.status) else "unset"


def _response_attributes(command: SendRequest, reply: Response) -> dict[str, Json]:
    attributes: dict[str, Json] = {
        names.HTTP_RESPONSE_STATUS_CODE: reply.status,
        names.NETWORK_PROTOCOL_VERSION: reply.http_version,
        names.HTTP_RESPONSE_BODY_SIZE: len(reply.body),
    }
    if reply.peer is not None:
        attributes[names.NETWORK_PEER_ADDRESS], attributes[names.NETWORK_PEER_PORT] = reply.peer
    if reply.status >= 400 and not _accepts(command, reply.status):
        attributes[names.ERROR_TYPE] = str(reply.status)
    for given, value in reply.headers:
        name = given.lower()
        if name in SHOWN_RESPONSE_HEADERS:
            shown = mask_url(value) if name == "location" else value
            attributes.setdefault(names.HTTP_RESPONSE_HEADER + name, []).append(shown)
    return attributes


def _accepts(command: SendRequest, status: int) -> bool:
    return any(status in accepted for accepted in command.accepted)


def _result(outcome: Outcome) -> str:
    if outcome.ended_by:
        return {"cancelled": "cancellation", "timed_out": "timeout"}[outcome.ended_by]
    return {"succeeded": "success", "failed": "failure", "skipped": "skip"}[outcome.status]


def _output_attributes(outcome: Outcome) -> Mapping[str, Json]:
    shown: dict[str, Json] = {}
    for name, value in outcome.outputs.items():
        if name in outcome.tainted:
            shown[names.OUTPUT + name] = MASK
        elif isinstance(value, bool | int | float) or (
            isinstance(value, str) and len(value) <= LONGEST_OUTPUT
        ):
            shown[names.OUTPUT + name] = value
    return shown
