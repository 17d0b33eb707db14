import json
import socket
import ssl
import threading
import time
import zlib

import certifi
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from runner.core.trace import Link, Origin, SpanRecord
from runner.runtime.exporters import Answer, judge, make_sender
from runner.runtime.otlp_settings import target_of
from tests.otlp_receiver import Say, attributes, grpc_receiver, otlp_receiver
from tests.servers import ApiServer, TlsServer, echo

PROTOCOLS = ["http/protobuf", "http/json", "grpc"]
OVER_HTTP = PROTOCOLS[:2]
TRACE = 0x0AF7651916CD43DD8448EB211C80319C
REMOTE = f"00-{TRACE:032x}-b7ad6b7169203331-01"


def record(number=1, parent=None, **changes):
    made = SpanRecord(f"span-{number}", TRACE, number, parent, sequence=0, start=1_700_000_000_000_000_001)
    made.end, made.ended = made.start + 2, True
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def receiver_for(protocol, answers=(), **options):
    return (grpc_receiver if protocol == "grpc" else otlp_receiver)(answers, **options)


def send(protocol, url, *records, **env):
    """Send one batch once."""
    env = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in env.items()}
    target = target_of({"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, **env}, url, timeout=5)
    sender = make_sender(target)
    try:
        return sender.send(records or [record()])
    finally:
        sender.close()


# --- what arrives


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_span_arrives_with_all_that_it_has(protocol):
    root = record(
        1, kind="consumer", tracestate="vendor=1", links=(Link(5, 6, {"why": "retry"}),),
        attributes={"runner.remote_parent": REMOTE},
    )  # fmt: skip
    step = record(
        2, 1, kind="client", status="error", description="HTTP 503",
        attributes={"n": 1, "f": 0.5, "b": True, "list": ["a", "b"], "none": None},
        events=[("exception", 1_700_000_000_000_000_002, {"exception.message": "no"})],
    )  # fmt: skip
    with receiver_for(protocol) as receiver:
        assert send(protocol, receiver.url, root, step) == Answer()
        above, below = receiver.spans
        resource = receiver.resource
    assert above.trace_id.hex() == below.trace_id.hex() == f"{TRACE:032x}"
    assert (above.span_id, above.parent_span_id.hex()) == ((1).to_bytes(8, "big"), "b7ad6b7169203331")
    assert above.trace_state == "vendor=1"
    assert above.flags & 0x200  # the parent is remote
    assert below.parent_span_id == above.span_id
    assert not below.flags & 0x200
    assert (above.kind, below.kind) == (5, 3)  # OTLP: CONSUMER, CLIENT
    assert (below.start_time_unix_nano, below.end_time_unix_nano) == (step.start, step.end)
    assert attributes(below.attributes) == {"n": 1, "f": 0.5, "b": True, "list": ["a", "b"]}
    assert (below.status.code, below.status.message, above.status.code) == (2, "HTTP 503", 0)
    (event,) = below.events
    assert (event.name, event.time_unix_nano) == ("exception", step.start + 1)
    assert attributes(event.attributes) == {"exception.message": "no"}
    (link,) = above.links
    assert (link.trace_id, link.span_id) == ((5).to_bytes(16, "big"), (6).to_bytes(8, "big"))
    assert attributes(link.attributes) == {"why": "retry"}
    assert resource["service.name"] == "flowspan-runner"
    assert resource["service.version"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_of_others_keep_their_resource_and_scope(protocol):
    foreign = record(1, origin=Origin({"service.name": "shop", "n": 1}, "flask", "3"))
    with receiver_for(protocol) as receiver:
        assert send(protocol, receiver.url, foreign, record(2)) == Answer()
        groups = receiver.requests[0].resource_spans
    assert [attributes(group.resource.attributes)["service.name"] for group in groups] == [
        "shop",
        "flowspan-runner",
    ]
    assert [group.scope_spans[0].scope.name for group in groups] == ["flask", "runner"]
    assert groups[0].scope_spans[0].scope.version == "3"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_span_with_more_than_the_sdk_would_keep_arrives_whole(protocol):
    """The SDK's limits are 128 of each, and it drops the oldest: task.id would go first."""
    many = record(
        1,
        attributes={f"a{number}": number for number in range(200)},
        events=[(f"e{number}", number, {}) for number in range(200)],
        links=tuple(Link(5, number + 1) for number in range(200)),
    )
    with receiver_for(protocol) as receiver:
        assert send(protocol, receiver.url, many) == Answer()
        (span,) = receiver.spans
    assert attributes(span.attributes) == many.attributes
    assert [event.name for event in span.events] == [name for name, _, _ in many.events]
    assert len(span.links) == 200


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_span_that_has_not_ended_is_sent_as_if_it_ended_when_it_began(protocol):
    with receiver_for(protocol) as receiver:
        assert send(protocol, receiver.url, record(1, end=None, ended=False)) == Answer()
        (span,) = receiver.spans
    assert span.end_time_unix_nano == span.start_time_unix_nano


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_odd_text_does_not_fail_its_batch(protocol):
    odd = record(
        1, name="\ud83d", attributes={"\ud83d": "\ud83d"}, events=[("\ud83d", 1, {})],
        status="error", description="\ud83d",
    )  # fmt: skip
    with receiver_for(protocol) as receiver:
        assert send(protocol, receiver.url, odd) == Answer()
        assert receiver.spans[0].name == "?"


# --- as the standard variables say


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_headers_and_compression_and_the_resource_come_from_the_environment(protocol, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "checkout")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    with receiver_for(protocol) as receiver:
        answer = send(protocol, receiver.url, HEADERS="x-tenant=blue,X-Other=a%20b", COMPRESSION="gzip")
        assert answer == Answer()
        assert receiver.headers[0]["x-tenant"] == "blue"
        assert receiver.headers[0]["x-other"] == "a b"
        if protocol != "grpc":  # where the server's library unpacks what it does not show
            assert receiver.headers[0]["content-encoding"] == "gzip"
            assert receiver.headers[0]["user-agent"].startswith("flowspan-runner/")
        assert receiver.resource["service.name"] == "checkout"
        assert receiver.resource["deployment.environment.name"] == "test"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_certificate_file_says_whom_to_trust(protocol, authority, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    leaf = authority.certificate("127.0.0.1")
    if protocol == "grpc":
        pair = leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes()
        serving = grpc_receiver(certificate=pair)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        serving = otlp_receiver(tls=context)
    with serving as receiver:
        refused = send(protocol, receiver.url)
        assert refused.again
        if protocol != "grpc":
            assert "name the authority that signed it with OTEL_EXPORTER_OTLP_CERTIFICATE" in refused.reason
        assert send(protocol, receiver.url, CERTIFICATE=str(authority.ca_file)) == Answer()
        assert len(receiver.spans) == 1


@pytest.mark.parametrize("protocol", OVER_HTTP)
def test_a_client_certificate_says_who_we_are(protocol, authority):
    with TlsServer(authority, echo, demand_client=True) as server:
        trusted = {"CERTIFICATE": str(authority.ca_file)}
        assert send(protocol, server.origin, **trusted).reason
        answer = send(protocol, server.origin, CLIENT_CERTIFICATE=str(authority.client_file()), **trusted)
        assert answer == Answer()


def test_grpc_presents_a_client_certificate(authority, tmp_path):
    """Over gRPC the certificate and its key are read from their files; the server here asks for neither."""
    client = authority.ca.issue_cert("client@example.org")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    client.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    leaf = authority.certificate("127.0.0.1")
    with grpc_receiver(
        certificate=(leaf.private_key_pem.bytes(), leaf.cert_chain_pems[0].bytes())
    ) as receiver:
        answer = send(
            "grpc", receiver.url, CERTIFICATE=str(authority.ca_file),
            CLIENT_CERTIFICATE=str(tmp_path / "cert.pem"), CLIENT_KEY=str(tmp_path / "key.pem"),
        )  # fmt: skip
    assert answer == Answer()


def test_a_grpc_endpoint_may_be_a_host_that_is_said_to_be_insecure():
    with grpc_receiver() as receiver:
        place = receiver.url.removeprefix("http://")
        target = target_of(
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": place, "OTEL_EXPORTER_OTLP_INSECURE": "true"},
            timeout=5,
        )  # fmt: skip
        sender = make_sender(target)
        assert sender.send([record()]) == Answer()
        sender.close()


def test_deflate_is_spoken_over_http():
    with ApiServer(echo) as server:
        for protocol in OVER_HTTP:
            assert send(protocol, server.origin, COMPRESSION="deflate") == Answer()
        assert [request.header("content-encoding") for request in server.requests] == ["deflate", "deflate"]
        assert json.loads(zlib.decompress(server.requests[1].body))["resourceSpans"]


# --- the truth about each batch


@pytest.mark.parametrize("protocol", OVER_HTTP)
@pytest.mark.parametrize(
    ("say", "expected"),
    [
        (Say(302, headers={"location": "/login"}), Answer("the answer was 302 Found", reached=True)),
        (Say(400, b"no traces here", "text/plain"), Answer("the answer was 400 Bad Request: no traces here", reached=True)),
        (Say(401, b'{"message": "no key"}', "application/json"), Answer("the answer was 401 Unauthorized: no key", reached=True)),
        (Say(403, Status(message="not yours").SerializeToString()), Answer("the answer was 403 Forbidden: not yours", reached=True)),
        (Say(404, b"<html>", "text/html"), Answer("the answer was 404 Not Found", reached=True)),
        (Say(413), Answer("the answer was 413 Request Entity Too Large", reached=True, too_large=True)),
        (Say(429, headers={"retry-after": "7"}), Answer("the answer was 429 Too Many Requests", again=True, after=7.0, reached=True)),
        (Say(500, b"[1]", "application/json"), Answer("the answer was 500 Internal Server Error", reached=True)),
        (Say(503, b"{", "application/json"), Answer("the answer was 503 Service Unavailable", again=True, reached=True)),
        (Say(200, b"<html>", "text/html; charset=utf-8"), Answer("a web page came back (200 OK); is the endpoint one of OTLP?", reached=True)),
        (Say(200, b"fine", "text/plain"), Answer()),
        (Say(200, b"\xff\xff"), Answer()),
        (Say(200, b'{"partialSuccess": null}', "application/json"), Answer()),
    ],
)  # fmt: skip
def test_only_an_acknowledgement_counts_over_http(protocol, say, expected):
    with otlp_receiver([say]) as receiver:
        assert send(protocol, receiver.url) == expected
        assert len(receiver.paths) == 1


@pytest.mark.parametrize(
    ("protocol", "kind"),
    [("http/protobuf", "application/x-protobuf"), ("http/json", "application/json"), ("grpc", "")],
)
def test_a_backend_that_rejects_spans_in_a_good_answer_has_not_taken_them(protocol, kind):
    partial = ExportTracePartialSuccess(rejected_spans=3, error_message="too old")
    body = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    if kind == "application/json":
        body = json.dumps({"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}).encode()
    with receiver_for(protocol, [Say(200, body, kind)]) as receiver:
        expected = Answer("the backend rejected 3 of them: too old", reached=True, rejected=3)
        assert send(protocol, receiver.url) == expected


def test_a_remark_in_a_good_answer_is_no_failure():
    body = json.dumps({"partialSuccess": {"errorMessage": "you send a lot"}}).encode()
    assert judge(200, "OK", {"content-type": "application/json"}, body) == Answer()
    metrics = json.dumps({"partialSuccess": {"rejectedDataPoints": 2}}).encode()
    assert "rejected 2" in judge(200, "OK", {"content-type": "application/json"}, metrics).reason


UNAVAILABLE, EXHAUSTED, UNAUTHENTICATED = 14, 8, 16


def details(delay):
    """Return trailing metadata with a RetryInfo."""
    packed, other = Any(), Any()
    packed.Pack(RetryInfo(retry_delay=Duration(seconds=delay)))
    other.Pack(Duration())
    return {"x-other": "1", "grpc-status-details-bin": Status(details=[other, packed]).SerializeToString()}


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        (Say(UNAUTHENTICATED, b"no key"), Answer("the answer was UNAUTHENTICATED: no key", reached=True)),
        (Say(UNAVAILABLE, b"shutting down"), Answer("the answer was UNAVAILABLE: shutting down", again=True, reached=True)),
        (Say(UNAVAILABLE, b"busy", headers=details(7)), Answer("the answer was UNAVAILABLE: busy", again=True, after=7.0, reached=True)),
        (Say(EXHAUSTED, b"quota"), Answer("the answer was RESOURCE_EXHAUSTED: quota", reached=True)),
        (Say(EXHAUSTED, b"quota", headers=details(9)), Answer("the answer was RESOURCE_EXHAUSTED: quota", again=True, after=9.0, reached=True)),
    ],
)  # fmt: skip
def test_only_an_acknowledgement_counts_over_grpc(say, expected):
    with grpc_receiver([say]) as receiver:
        assert send("grpc", receiver.url) == expected
        assert len(receiver.paths) == 1


def test_a_message_too_large_for_grpc_may_be_sent_in_parts():
    with grpc_receiver(options=[("grpc.max_receive_message_length", 1000)]) as receiver:
        large = record(1, attributes={"a": "x" * 2000})
        answer = send("grpc", receiver.url, large)
        assert (answer.too_large, answer.again) == (True, False)
        assert send("grpc", receiver.url, record()) == Answer()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_key_that_the_backend_quotes_is_masked(protocol):
    say = Say(UNAUTHENTICATED if protocol == "grpc" else 401, b"unknown key hunter22", "text/plain")
    with receiver_for(protocol, [say]) as receiver:
        answer = send(protocol, receiver.url, HEADERS="authorization=Bearer%20hunter22")
    assert answer.reason.endswith(": unknown key [masked]")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("length", [240, 250, 260])
def test_a_key_that_a_long_reason_is_cut_in_is_masked(protocol, length):
    body = f"{'x' * length} correct-horse-battery-staple".encode()
    say = Say(UNAUTHENTICATED if protocol == "grpc" else 401, body, "text/plain")
    with receiver_for(protocol, [say]) as receiver:
        answer = send(protocol, receiver.url, HEADERS="x-key=correct-horse-battery-staple")
    assert " [mask" in answer.reason
    assert "correct" not in answer.reason
    assert len(answer.reason) <= 300


# --- no answer


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_refused_connection_is_told_with_its_place(protocol, closed_port):
    answer = send(protocol, f"http://127.0.0.1:{closed_port}")
    assert answer == Answer(f"no connection to 127.0.0.1:{closed_port}: connection refused", again=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_name_that_does_not_exist_is_told(protocol):
    answer = send(protocol, "http://no.such.host.invalid:4318")
    assert "no.such.host.invalid" in answer.reason
    assert answer.again


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_black_hole_is_left_after_the_timeout(protocol):
    with socket.create_server(("127.0.0.1", 0)) as hole:
        started = time.monotonic()
        answer = send(protocol, f"http://127.0.0.1:{hole.getsockname()[1]}", TIMEOUT="0.3")
        assert time.monotonic() - started < 5
    assert answer == Answer("no answer came within 0.3 s", again=True)


@pytest.mark.parametrize("protocol", OVER_HTTP)
@pytest.mark.parametrize("death", ["reset", "drop", "half", "half-head"])
def test_a_backend_that_dies_in_mid_batch_has_not_taken_it(protocol, death, nasty):
    answer = send(protocol, f"{nasty.origin}/{death}")
    assert answer == Answer("the connection ended before an answer came", again=True)


def test_a_grpc_backend_that_dies_in_mid_batch_has_not_taken_it():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def die():
            for _ in range(3):
                connection, _ = server.accept()
                connection.close()

        threading.Thread(target=die, daemon=True).start()
        answer = send("grpc", f"http://127.0.0.1:{server.getsockname()[1]}")
    assert answer.again
    assert "no connection to 127.0.0.1" in answer.reason


@pytest.mark.parametrize("protocol", OVER_HTTP)
def test_a_proxy_that_refuses_is_told(protocol, closed_port, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{closed_port}")
    answer = send(protocol, "https://collector.invalid")
    assert answer == Answer("the proxy did not open a tunnel", again=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_header_that_cannot_be_sent_fails_the_batch_and_is_not_quoted(protocol):
    with receiver_for(protocol) as receiver:
        answer = send(protocol, receiver.url, HEADERS="x=secret%0Ab")
    assert answer.reason
    assert not answer.again
    assert "secret" not in answer.reason
    assert receiver.paths == []
