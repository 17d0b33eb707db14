"""Traces to look at: recorded by the real recorder, with a clock that is set by hand."""

import json

from runner.core import names
from runner.core.integration_flow import read
from runner.core.trace_document import TraceDocument
from runner.report.html import html_page
from runner.runtime.files import page_files
from runner.runtime.tracing import Recorder

MS = 1_000_000
START = 1_795_241_862_398_911_919


def page(*stories, title="a trace") -> bytes:
    return html_page(title, [story.trace() for story in stories], page_files())


class Story:
    """A run that is told by hand: each method passes its time."""

    def __init__(self, name="Order a book", start=START):
        self.name = name
        self.clock = start
        self.ids = iter(range(start, start + (1 << 40)))
        self.recorder = Recorder(
            "run-1", now=lambda: self.clock, random=lambda size: next(self.ids).to_bytes(size, "big")
        )
        values = {names.TASK_ID: name, names.TASK_TYPE: "flow", names.WORKFLOW_DEFINITION_NAME: name}
        self.root = self.recorder.open(f"flow-{name}", attributes=values)

    def trace(self):
        """Return the trace as it comes out of a file."""
        document = {"name": self.name, "description": "", "spans": list(self.recorder.spans())}
        return TraceDocument(self.name, "", read(document).spans, "integration-flow")

    def wait(self, ms):
        self.clock += round(ms * MS)

    def open(self, step, kind="http", parent=None, **attributes):
        values = {names.TASK_ID: step, names.TASK_TYPE: kind, names.WORKFLOW_TASK_NAME: step}
        return self.recorder.open(f"{kind}-{step}", "internal", parent or self.root, {**values, **attributes})

    def end(self, span, result="success", **attributes):
        status = "unset" if result in ("success", "skip") else "error"
        values = {names.WORKFLOW_EXECUTION_RESULT: result, **attributes}
        self.recorder.end(span, status, str(attributes.get(names.ERROR_MESSAGE, "")), values)

    def fail(self, span, message, code="http.status", **attributes):
        found = {names.ERROR_TYPE: code, names.FAILURE_CODE: code, names.ERROR_MESSAGE: message, **attributes}
        self.recorder.event(span, "exception", {names.EXCEPTION_TYPE: code, names.EXCEPTION_MESSAGE: message})
        self.end(span, "failure", **found)

    def skip(self, step, reason, detail):
        values = {names.TASK_ID: step, names.SKIP_REASON: reason, names.SKIP_DETAIL: detail}
        result = {names.WORKFLOW_EXECUTION_RESULT: "skip"}
        self.recorder.skip(f"http-{step}", self.root, {**values, **result})

    def send(self, step, method, path, ms, status=200, body=None, sent=None, resend=0):
        span = self.recorder.open(f"{method} {path}", "client", step, {
            names.TASK_ID: step.attributes[names.TASK_ID],
            names.TASK_TYPE: "http",
            names.HTTP_REQUEST_METHOD: method,
            names.URL_FULL: f"https://api.example.com/v2{path}",
            names.SERVER_ADDRESS: "api.example.com",
            names.SERVER_PORT: 443,
            names.URL_SCHEME: "https",
            names.URL_TEMPLATE: path,
        })  # fmt: skip
        if resend:
            span.attributes[names.HTTP_REQUEST_RESEND_COUNT] = resend
        if sent is not None:
            span.attributes[names.HTTP_REQUEST_BODY_SIZE] = len(sent)
            span.attributes[names.HTTP_REQUEST_BODY_CONTENT] = sent
        self.wait(ms)
        text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
        self.recorder.end(span, "error" if status >= 400 else "unset", attributes={
            names.HTTP_RESPONSE_STATUS_CODE: status,
            names.NETWORK_PROTOCOL_VERSION: "1.1",
            names.HTTP_RESPONSE_HEADER + "content-type": ["application/json; charset=utf-8"],
            names.HTTP_RESPONSE_HEADER + "x-request-id": ["b8f1c3"],
            names.HTTP_RESPONSE_BODY_SIZE: len(text),
            **({names.HTTP_RESPONSE_BODY_CONTENT: text} if text else {}),
            **({names.ERROR_TYPE: str(status)} if status >= 400 else {}),
        })  # fmt: skip
        return span


def order(*, is_broken=True) -> Story:
    """A run with a retry, a loop, a skipped step, a handled failure, and a failure at its end."""
    story = Story()
    story.wait(1.2)
    register = story.open("register")
    sent = '{"username":"ada","email":"ada@example.com","password":"[masked]"}'
    story.send(register, "POST", "/auth/register", 84.3, 503, {"code": "unavailable"}, sent)
    story.recorder.event(
        register, "retry.scheduled", {names.DELAY_MS: 180, names.ATTEMPT: 2, names.REASON: "503"}
    )
    story.wait(180)
    answer = {
        "user": {
            "id": 12345678901234567890,
            "name": "ada",
            "roles": ["reader", "buyer"],
            "vip": False,
            "left": None,
        }
    }
    story.send(register, "POST", "/auth/register", 96.1, 201, answer, sent, resend=1)
    story.end(register, **{names.STEP_ATTEMPTS: 2, names.OUTPUT + "userId": 42})
    story.wait(0.4)
    basket = story.open("basket", "forEach")
    for index, title in enumerate(("Emma", "Ulysses", "Dracula", "Walden")):
        item = story.open("basket", "iteration", basket, **{names.INDEX: index})
        step = story.open("put", "http", item)
        story.send(step, "PUT", "/basket/{item}", 31.7 + index * 9, 200, {"title": title, "price": 12.5})
        story.end(step)
        story.end(item)
    story.end(basket)
    coupon = story.open("coupon")
    story.send(coupon, "GET", "/coupons/{code}", 22.4, 404, {"code": "not_found"})
    story.fail(
        coupon, "expected 2xx, got 404", **{names.FAILURE_PLACE: "steps[2]", names.FAILURE_HANDLED: True}
    )
    story.skip("gift", "condition", "{{input.gift}} === true is false")
    if is_broken:
        pay = story.open("pay")
        story.send(
            pay,
            "POST",
            "/payments",
            143.9,
            500,
            {"code": "internal", "message": "card service down"},
            '{"amount":50}',
        )
        story.recorder.event(pay, "retry.withheld", {names.REASON: "the server may have acted on the POST"})
        story.fail(pay, "expected 2xx, got 500: card service down", **{names.FAILURE_PLACE: "steps[4]"})
        story.skip("mail", "unreached", "stopped by pay")
        story.wait(0.6)
        story.end(story.root, "failure", **{names.ERROR_MESSAGE: "step pay failed"})
    else:
        story.end(story.root)
    return story


def large(spans: int, start=START + 60_000 * MS) -> Story:
    """A run of that many spans: steps in parallel, each with requests, every hundredth one failing."""
    story = Story("Import", start)
    made = 1
    step = 0
    while made + 15 <= spans:
        group = story.open(f"batch_{step}", "forEach")
        began = story.clock
        longest, is_broken = began, False
        for index in range(5):
            story.clock = began + index * 3 * MS
            step += 1
            one = story.open(
                f"order_{step}",
                "http",
                group,
                **{names.OUTPUT + "number": step * 7, names.OUTPUT + "etag": f"w/{step:x}"},
            )
            status = 500 if step % 100 == 0 else 200
            story.send(one, "POST", "/orders/{id}", 18 + step * 37 % 90, status)
            if status == 200:
                story.send(one, "GET", "/orders/{id}/state", 6 + step * 17 % 30)
                story.end(one)
            else:
                is_broken = True
                story.fail(one, f"expected 2xx, got 500: order {step} is locked")
            longest = max(longest, story.clock)
        story.clock = longest
        if is_broken:
            story.end(group, "failure", **{names.ERROR_MESSAGE: "an order failed"})
        else:
            story.end(group)
        made = story.recorder._started
    while made < spans:
        story.skip(f"rest_{made}", "unreached", "stopped")
        made += 1
    story.end(story.root, "failure", **{names.ERROR_MESSAGE: "orders failed"})
    return story
