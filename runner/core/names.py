"""Every name that a trace can show: span names, attribute keys and event names, one sentence each.

Nothing else in the package spells one of these out, so a renamed convention is a change of one
line. `SPAN_NAMES`, `ATTRIBUTES` and `EVENTS` hold the sentences; the reference page is made from
them. A key that ends in ``.<name>`` stands for a family of keys with that prefix.
"""

from __future__ import annotations

from typing import Final

# --- the platform's own keys (seed 000, OTelSpan.attributes) -------------------------------------
TASK_ID: Final = "task.id"
TASK_TYPE: Final = "task.type"
EXECUTION_ID: Final = "execution.id"
CONNECTION: Final = "connection"

# --- the proposed workflow conventions, as OpenTelemetry's own instrumentations ship them --------
WORKFLOW_DEFINITION_NAME: Final = "workflow.definition.name"
WORKFLOW_TASK_NAME: Final = "workflow.task.name"
WORKFLOW_TRIGGER_TYPE: Final = "workflow.trigger.type"
WORKFLOW_EXECUTION_RESULT: Final = "workflow.execution.result"

# --- stable HTTP client conventions, semantic conventions v1.44 ----------------------------------
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_REQUEST_METHOD_ORIGINAL: Final = "http.request.method_original"
HTTP_REQUEST_RESEND_COUNT: Final = "http.request.resend_count"
HTTP_REQUEST_BODY_SIZE: Final = "http.request.body.size"
HTTP_REQUEST_BODY_CONTENT: Final = "http.request.body.content"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_RESPONSE_BODY_SIZE: Final = "http.response.body.size"
HTTP_RESPONSE_BODY_CONTENT: Final = "http.response.body.content"
HTTP_RESPONSE_HEADER: Final = "http.response.header."
URL_FULL: Final = "url.full"
URL_PATH: Final = "url.path"
URL_QUERY: Final = "url.query"
URL_SCHEME: Final = "url.scheme"
URL_TEMPLATE: Final = "url.template"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
NETWORK_PROTOCOL_VERSION: Final = "network.protocol.version"
NETWORK_PEER_ADDRESS: Final = "network.peer.address"
NETWORK_PEER_PORT: Final = "network.peer.port"

# --- messaging conventions, for the queue in front of workers ------------------------------------
MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_DESTINATION: Final = "messaging.destination.name"
MESSAGING_OPERATION: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"
MESSAGING_CLIENT_ID: Final = "messaging.client.id"

# --- errors --------------------------------------------------------------------------------------
ERROR_TYPE: Final = "error.type"
ERROR_MESSAGE: Final = "error.message"
ERROR_STACK: Final = "error.stack"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

# --- what IntegrationFlow has no field for: the names OpenTelemetry gives them outside OTLP ------
OTEL_STATUS_CODE: Final = "otel.status_code"
OTEL_STATUS_DESCRIPTION: Final = "otel.status_description"
OTEL_LINKS: Final = "otel.links"
OTEL_DROPPED_ATTRIBUTES_COUNT: Final = "otel.dropped_attributes_count"
OTEL_DROPPED_EVENTS_COUNT: Final = "otel.dropped_events_count"
OTEL_DROPPED_LINKS_COUNT: Final = "otel.dropped_links_count"
OTEL_SCOPE_NAME: Final = "otel.scope.name"
OTEL_SCOPE_VERSION: Final = "otel.scope.version"
SPAN_KIND: Final = "span.kind"
W3C_TRACESTATE: Final = "w3c.tracestate"

# --- resource ------------------------------------------------------------------------------------
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"

# --- our own -------------------------------------------------------------------------------------
RUN_ID: Final = "runner.run.id"
PREVIOUS_RUN: Final = "runner.previous_run.id"
REMOTE_PARENT: Final = "runner.remote_parent"
STEP_TYPE: Final = "runner.step.type"
STEP_PATH: Final = "runner.step.path"
STEP_VISIT: Final = "runner.step.visit"
STEP_ATTEMPTS: Final = "runner.step.attempts"
INDEX: Final = "runner.index"
POLL: Final = "runner.poll"
OUTPUT: Final = "runner.output."
SKIP_REASON: Final = "runner.skip.reason"
SKIP_DETAIL: Final = "runner.skip.detail"
CONDITION: Final = "runner.condition"
CONDITION_RESULT: Final = "runner.condition.result"
CONDITION_LABEL: Final = "runner.condition.label"
FAILURE_CODE: Final = "runner.failure.code"
FAILURE_PLACE: Final = "runner.failure.place"
FAILURE_HANDLED: Final = "runner.failure.handled"
DELAY_MS: Final = "runner.delay_ms"
ATTEMPT: Final = "runner.attempt"
REASON: Final = "runner.reason"
EXTERNAL_SOURCE: Final = "runner.external.source"
LOGGED: Final = "runner.logged."
CLAIM: Final = "runner.claim"
CLAIM_END: Final = "runner.claim.end"
QUEUE_WAIT_MS: Final = "runner.queue.wait_ms"

ATTRIBUTES: Final[dict[str, str]] = {
    TASK_ID: "The id of the step; on the flow span the name of the flow.",
    TASK_TYPE: "What kind of step it is, one of TASK_TYPES; an attempt carries the type of its step.",
    EXECUTION_ID: "The run as a ULID: the run id itself if it is one, else derived from it.",
    CONNECTION: "The host that the step calls; only with --names versori.",
    WORKFLOW_DEFINITION_NAME: "The name of the flow, on the flow span.",
    WORKFLOW_TASK_NAME: "The display name of the step.",
    WORKFLOW_TRIGGER_TYPE: "What started the run: cli, library or queue.",
    WORKFLOW_EXECUTION_RESULT: "How the flow or the step ended, one of EXECUTION_RESULTS.",
    HTTP_REQUEST_METHOD: "The request's method in capitals, or _OTHER if it is not a known one.",
    HTTP_REQUEST_METHOD_ORIGINAL: "The method as it was sent, where http.request.method is _OTHER.",
    HTTP_REQUEST_RESEND_COUNT: "How often this request was sent before; absent on the first send.",
    HTTP_REQUEST_BODY_SIZE: "Size of the request's body in bytes.",
    HTTP_REQUEST_BODY_CONTENT: "The request's body as text, masked and cut; only when asked for.",
    HTTP_RESPONSE_STATUS_CODE: "The status code of the answer, as an integer.",
    HTTP_RESPONSE_BODY_SIZE: "Size of the answer's body in bytes.",
    HTTP_RESPONSE_BODY_CONTENT: "The answer's body as text, masked and cut; only when asked for.",
    HTTP_RESPONSE_HEADER + "<name>": "The values of a response header, from a fixed list of harmless ones.",
    URL_FULL: "The absolute url that was requested, without credentials and secret query values.",
    URL_PATH: "The path of url.full; only with --names versori.",
    URL_QUERY: "The query of url.full, without its question mark; only with --names versori.",
    URL_SCHEME: "The scheme of the url: http or https.",
    URL_TEMPLATE: "The path as the document has it, with references in braces: /users/{id}.",
    SERVER_ADDRESS: "The host of the url.",
    SERVER_PORT: "The port of the url, 80 or 443 where it names none.",
    NETWORK_PROTOCOL_VERSION: "The version of HTTP that was spoken: 1.0, 1.1 or 2.",
    NETWORK_PEER_ADDRESS: "The address that the connection went to.",
    NETWORK_PEER_PORT: "The port that the connection went to.",
    MESSAGING_SYSTEM: "The queue that the run came from: flowspan.",
    MESSAGING_DESTINATION: "The name of the queue.",
    MESSAGING_OPERATION: "What a worker does with what it takes: process.",
    MESSAGING_OPERATION_TYPE: "The kind of that operation: process.",
    MESSAGING_MESSAGE_ID: "What was taken from the queue: the id of the run.",
    MESSAGING_CLIENT_ID: "The worker: its host, its process, and a number of its own.",
    ERROR_TYPE: "A short, stable name of the failure: a status code as text, timeout, cancelled or a code.",
    ERROR_MESSAGE: "What went wrong, in one sentence, on the step that failed.",
    ERROR_STACK: "The code, the message and the place of the failure; only with --names versori.",
    EXCEPTION_TYPE: "The type of the failure that an exception event tells of.",
    EXCEPTION_MESSAGE: "The message of the failure that an exception event tells of.",
    EXCEPTION_STACKTRACE: "The same as error.stack; only with --names versori.",
    OTEL_STATUS_CODE: "OK or ERROR, where the status was set; IntegrationFlow only knows 0 and 1.",
    OTEL_STATUS_DESCRIPTION: "The description that goes with the status ERROR.",
    OTEL_LINKS: "The span's links as a JSON list of traceId, spanId, traceFlags and attributes.",
    OTEL_DROPPED_ATTRIBUTES_COUNT: "How many attributes were left out; only in traces that others recorded.",
    OTEL_DROPPED_EVENTS_COUNT: "How many events were left out because the span had too many.",
    OTEL_DROPPED_LINKS_COUNT: "How many links were left out; only in traces that others recorded.",
    OTEL_SCOPE_NAME: "The instrumentation scope of a span that others recorded; that of our own is runner.",
    OTEL_SCOPE_VERSION: "The version of that scope.",
    SPAN_KIND: "The kind of the span: client, server, producer or consumer; absent means internal.",
    W3C_TRACESTATE: "The tracestate header that came with the remote parent.",
    SERVICE_NAME: "The name of the service, a resource attribute.",
    SERVICE_VERSION: "The version of this package, a resource attribute.",
    RUN_ID: "The id of the run as it was given, on the flow span.",
    PREVIOUS_RUN: "The id of the run that this one repeats a part of, on the flow span and on what was kept.",
    REMOTE_PARENT: "The traceparent that the run was started with, on the flow span.",
    STEP_TYPE: "What task.type was; only with --names versori.",
    STEP_PATH: "The step's path in the run, where it is not the id alone: loop[2]/step#3.",
    STEP_VISIT: "How often the step was started in this run, from the second time on.",
    STEP_ATTEMPTS: "How many attempts the step made; redirects and token refreshes are part of one.",
    INDEX: "Which item of the list this iteration works on, counted from 0.",
    POLL: "Which poll of an until step this is, counted from 1.",
    OUTPUT + "<name>": "A declared output of the step, if it is a scalar of at most 256 characters.",
    SKIP_REASON: "Why the step was skipped: condition, upstream or unreached.",
    SKIP_DETAIL: "What exactly made the step be skipped.",
    CONDITION: "The condition as the document has it.",
    CONDITION_RESULT: "Whether the condition held.",
    CONDITION_LABEL: "The label of the branch that was taken.",
    FAILURE_CODE: "The code of the failure, one of the step errors.",
    FAILURE_PLACE: "The place in the document that the failure belongs to.",
    FAILURE_HANDLED: "True when the flow itself deals with the failure, so that it does not fail the run.",
    DELAY_MS: "How long is waited, in milliseconds, on the event that announces it.",
    ATTEMPT: "The number of the attempt that an event is about, counted from 1.",
    EXTERNAL_SOURCE: "Where the scripted outcome of the step is from: answer, stub or recording.",
    LOGGED + "<name>": "What the flow logs about itself, on the event that tells of it.",
    CLAIM: "Which part of the run this is, counted from 1; each worker that takes the run adds one.",
    CLAIM_END: "How the part of an earlier worker ended: handed_over, or lost with its process.",
    QUEUE_WAIT_MS: "How long the run was in the queue before it was first taken, in milliseconds.",
    REASON: "Why the thing that an event tells of was done or left.",
}

# --- events --------------------------------------------------------------------------------------
EVENT_EXCEPTION: Final = "exception"
EVENT_RETRY_SCHEDULED: Final = "retry.scheduled"
EVENT_RETRY_WITHHELD: Final = "retry.withheld"
EVENT_DELAY: Final = "delay"
EVENT_POLL_WAIT: Final = "poll.wait"
EVENT_RATE_WAIT: Final = "rate.wait"
EVENT_OUTPUT_MISSING: Final = "output.missing"
EVENT_TOKEN_REFRESHED: Final = "token.refreshed"
EVENT_BRANCH_TAKEN: Final = "branch.taken"
EVENT_OUTCOME_LOGGED: Final = "outcome.logged"

EVENTS: Final[dict[str, str]] = {
    EVENT_EXCEPTION: "The step failed; carries exception.type and exception.message, once per failure.",
    EVENT_RETRY_SCHEDULED: "The request is sent again after runner.delay_ms.",
    EVENT_RETRY_WITHHELD: "The request is not sent again, because the server may have acted on it.",
    EVENT_DELAY: "The start of the step was held back by runner.delay_ms.",
    EVENT_POLL_WAIT: "The polled condition does not hold yet; it is asked again after runner.delay_ms.",
    EVENT_RATE_WAIT: "The request waits runner.delay_ms for its turn: the rate of its host is limited.",
    EVENT_OUTPUT_MISSING: "A declared output was not in the answer.",
    EVENT_TOKEN_REFRESHED: "The server refused the access token and another one was fetched.",
    EVENT_BRANCH_TAKEN: "A decision was made; runner.condition.label names the branch.",
    EVENT_OUTCOME_LOGGED: "The flow says how far it came, in runner.logged.<name>.",
}

# --- metrics: HTTP client conventions, and the proposed workflow ones ------------------------------
METRIC_REQUEST_DURATION: Final = "http.client.request.duration"
METRIC_EXECUTION_DURATION: Final = "workflow.execution.duration"
METRIC_EXECUTION_OUTCOME: Final = "workflow.execution.outcome"
METRIC_EXECUTION_ERRORS: Final = "workflow.execution.errors"
METRIC_WORKFLOW_OUTCOME: Final = "workflow.outcome"
METRIC_PROCESS_DURATION: Final = "messaging.process.duration"
METRIC_CONSUMED: Final = "messaging.client.consumed.messages"

METRICS: Final[dict[str, str]] = {
    METRIC_REQUEST_DURATION: "Histogram of seconds: each send of a request, as long as its span.",
    METRIC_EXECUTION_DURATION: "Histogram of seconds: each flow, step and iteration that was not skipped.",
    METRIC_EXECUTION_OUTCOME: "Counter: flows, steps and iterations by workflow.execution.result.",
    METRIC_EXECUTION_ERRORS: "Counter: flows, steps and iterations that failed, by error.type.",
    METRIC_WORKFLOW_OUTCOME: "Counter: runs by workflow.execution.result.",
    METRIC_PROCESS_DURATION: "Histogram of seconds: the part of a run that one worker had.",
    METRIC_CONSUMED: "Counter: runs that a worker has taken from the queue and ended.",
}

# --- span names ----------------------------------------------------------------------------------
TASK_FLOW: Final = "flow"
TASK_ITERATION: Final = "iteration"
TASK_TYPES: Final = (
    TASK_FLOW,
    "http",
    "condition",
    "delay",
    "set",
    "forEach",
    "until",
    "script",
    "external",
    TASK_ITERATION,
)
EXECUTION_RESULTS: Final = ("success", "failure", "error", "timeout", "cancellation", "skip")

PROCESS_SPAN: Final = "process flows"
SPAN_NAMES: Final[dict[str, str]] = {
    "flow-<flow>": "The whole run; <flow> is the flow's name, else its file's stem, else the word flow.",
    "<task.type>-<step>": "One visit of a step; a step that runs another flow is flow-<step>.",
    "iteration-<step>": "One item of a loop; runner.index says which.",
    "http-<step>.auth": "Fetching the access token that a step needs.",
    "process flows": "The part of a run from the queue that one worker had.",
    "<METHOD> <url.template>": "One send of a request over the wire; only the method where no path is left.",
}

# RFC 9110 section 9, RFC 5789 and the QUERY method: what semantic conventions count as known.
KNOWN_METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
OTHER_METHOD: Final = "_OTHER"

# The second one is its name in older semantic conventions, which others still follow.
STATUS_CODES: Final = (HTTP_RESPONSE_STATUS_CODE, "http.status_code")


def flow_span_name(flow: str) -> str:
    """Return the name of the flow span (SEMANTICS, Trace)."""
    return f"{TASK_FLOW}-{flow}"


def step_span_name(task_type: str, step: str) -> str:
    """Return the name of a step's span: ``http-register`` (seed 000: "webhook-incoming-webhook")."""
    return f"{task_type}-{step}"


def token_task_id(step: str) -> str:
    """Return the task id of the request that fetches a step's access token."""
    return f"{step}.auth"


def attempt_span_name(method: str, template: str | None) -> str:
    """Return the name of one send: method and url template, ``HTTP`` for a method nobody knows."""
    shown = method.upper() if method.upper() in KNOWN_METHODS else "HTTP"
    return f"{shown} {template}" if template else shown


def method_attributes(method: str) -> dict[str, str]:
    """Return http.request.method, and the original spelling where the method is not a known one."""
    if method in KNOWN_METHODS:
        return {HTTP_REQUEST_METHOD: method}
    if method.upper() in KNOWN_METHODS:
        return {HTTP_REQUEST_METHOD: method.upper(), HTTP_REQUEST_METHOD_ORIGINAL: method}
    return {HTTP_REQUEST_METHOD: OTHER_METHOD, HTTP_REQUEST_METHOD_ORIGINAL: method}


def known_attribute(key: str) -> bool:
    """Return whether the key is listed in `ATTRIBUTES`, by itself or by its family."""
    return key in ATTRIBUTES or any(
        key.startswith(family.removesuffix("<name>")) for family in ATTRIBUTES if family.endswith(".<name>")
    )
