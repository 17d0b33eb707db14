import json

import pytest

from runner.core.integration_flow import IntegrationFlow
from runner.core.otlp_json import RESOURCE, to_otlp
from runner.core.trace import encode
from runner.core.trace_document import read_traces
from runner.errors import FlowError, Place
from tests.core.test_integration_flow import canonical, document, span
from tests.core.test_otlp_json import record, request


def text(*values):
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def otlp(*records):
    return to_otlp(records, RESOURCE)


def read_one(data, name="trace.json"):
    (found,) = read_traces(data, name)
    return found


def problems(data, **options):
    with pytest.raises(FlowError) as caught:
        read_traces(data, "trace.json", **options)
    return [(problem.code, problem.where, str(problem.place)) for problem in caught.value.problems]


# --- dialects


def test_an_integration_flow_keeps_its_name_and_description():
    found = read_one(canonical(document(span(1), span(2, 1))))
    assert (found.name, found.description, found.dialect) == ("n", "d", "integration-flow")
    assert IntegrationFlow(found.name, found.description, found.records).to_json() == canonical(
        document(span(1), span(2, 1))
    )


def test_a_list_answer_has_a_trace_per_flow():
    found = read_traces(text({"flows": [document(span(1)), document(span(2), span(3, x=1))]}), "list.json")
    assert [len(one.records) for one in found] == [1, 2]
    assert [problem.where for problem in found[1].warnings] == ["flows[1].spans[1].x"]
    assert read_traces(b'{"flows": []}', "list.json") == []


def test_yaml_is_read_too():
    assert read_one(b"name: n\ndescription: d\nspans: []\n", "trace.yaml").dialect == "integration-flow"


@pytest.mark.parametrize("indent", [None, 2])
def test_otlp_is_named_after_its_flow(indent):
    root = record(1, attributes={"workflow.definition.name": "Register user"})
    found = read_one(json.dumps(otlp(root, record(2, 1)), indent=indent).encode())
    assert (found.name, found.description, found.dialect) == ("Register user", "", "otlp-json")
    assert [one.name for one in found.records] == ["http-1", "http-2"]


def test_otlp_of_others_is_named_after_its_first_span_or_its_file():
    assert read_one(text(otlp(record(1)))).name == "http-1"
    assert read_one(text(otlp(record(1, name=""))), "in/a b.tar.jsonl").name == "a b"
    assert read_one(text(otlp()), "c:\\x\\empty.json").name == "empty"


def test_lines_of_otlp_are_put_together_by_trace_with_parents_first():
    other = record(9)
    other.trace_id = 5
    found = read_traces(text(otlp(record(3, 2), other), otlp(record(2, 1)), otlp(record(1))), "a.jsonl")
    assert [[one.span_id for one in each.records] for each in found] == [[1, 2, 3], [9]]
    assert [[one.sequence for one in each.records] for each in found] == [[0, 1, 2], [0]]


def test_a_span_that_was_sent_twice_counts_once():
    assert len(read_one(text(otlp(record(1)), otlp(record(1)))).records) == 1


def test_lines_of_metrics_and_logs_are_passed_over():
    found = read_one(text({"resourceMetrics": []}, otlp(record(1)), {"resourceLogs": []}))
    assert len(found.records) == 1


def test_lines_of_spans_are_a_trace():
    lines = [encode(record(2, 1)), "", encode(record(1)), ""]
    found = read_one("\r\n".join(lines).encode("utf-8-sig"))
    assert (found.name, found.dialect) == ("http-1", "spans")
    assert [one.span_id for one in found.records] == [1, 2]
    assert read_one(encode(record(1)).encode()).dialect == "spans"


# --- what is wrong


def test_a_last_line_that_was_cut_off_is_left_out_with_a_warning():
    data = text(otlp(record(1)), otlp(record(2)))
    for end in (len(data) - 2, len(data) - 60):
        found = read_one(data[:end])
        assert [one.span_id for one in found.records] == [1]
        (warning,) = found.warnings
        assert (warning.code, warning.place.line, warning.is_error) == ("trace.cut_off", 2, False)


def test_a_last_line_cut_off_within_a_character_is_no_problem_either():
    data = text(otlp(record(1))) + '{"resourceSpans": "é'.encode()[:-1]
    assert [problem.code for problem in read_one(data).warnings] == ["trace.cut_off"]


def test_a_line_that_is_wrong_is_told_with_its_number():
    assert problems(text(otlp(record(1))) + b"\n{oops\n\xff\n" + text(otlp())) == [
        ("document.json_syntax", "", "trace.json:3:2"),
        ("document.encoding", "", "trace.json:4:1"),
    ]
    assert problems(text(otlp(record(1)), {"a": 1}, [])) == [
        ("trace.dialect", "", "trace.json:2:1"),
        ("trace.dialect", "", "trace.json:3:1"),
    ]
    assert problems(text(otlp(record(1)), request({}))) == [
        ("trace.id", f"resourceSpans[0].scopeSpans[0].spans[0].{key}", "trace.json:2:1")
        for key in ("traceId", "spanId")
    ]


def test_a_line_with_a_wrong_span_is_told_with_its_number():
    assert problems(text(span(1), span(2, startTime="x"))) == [("trace.time", "startTime", "trace.json:2:1")]
    found = read_one(text(span(1), span(2, status={"code": 2}, odd=1)))
    assert [(problem.where, problem.place) for problem in found.warnings] == [
        ("spans", None),
        ("odd", Place("trace.json", 2, 1)),
    ]


def test_problems_of_a_document_have_their_places():
    value = document(span(1, startTime="x"))
    assert problems(json.dumps(value, indent=1).encode()) == [
        ("trace.time", "spans[0].startTime", "trace.json:7:17")
    ]
    assert problems(text({"flows": [5, value]})) == [
        ("trace.type", "flows[0]", "trace.json:1:12"),
        ("trace.time", "flows[1].spans[0].startTime", "trace.json:1:91"),
    ]


def test_a_page_is_told_to_be_no_trace():
    with pytest.raises(FlowError) as caught:
        read_traces(b"\xef\xbb\xbf\n<!doctype html>", "page.html")
    (problem,) = caught.value.problems
    assert (problem.code, str(problem.place)) == ("trace.dialect", "page.html:1:1")
    assert "IntegrationFlow" in problem.what


@pytest.mark.parametrize("value", [{}, {"flow_data": {"steps": []}, "name": "x"}, {"flows": 5}])
def test_an_unknown_document_is_told_with_its_keys_and_the_dialects(value):
    with pytest.raises(FlowError) as caught:
        read_traces(json.dumps(value).encode(), "x.json")
    (problem,) = caught.value.problems
    assert problem.code == "trace.dialect"
    assert all(
        repr(key) in problem.what for key in [*value, "spans", "flows", "resourceSpans", "spanContext"]
    )
    assert value or "no key" in problem.what


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "document.empty"),
        (b"[]", "document.not_object"),
        (b"{\n", "document.json_syntax"),
        (b'{"a": NaN}', "document.number"),
        (b"\xff", "document.encoding"),
        (b"{" + b'"a":{' * 300 + b"}" * 301, "document.too_deep"),
    ],
)
def test_what_is_no_document_is_told_as_for_any_other(data, code):
    assert [found[0] for found in problems(data)] == [code]


def test_the_limits_of_documents_apply_to_lines_too():
    lines = text(otlp(record(1)), otlp(record(2)))
    assert problems(lines, max_bytes=100)[0][0] == "document.too_large"
    deep = json.dumps(otlp(record(1))) + "\n" + '{"resourceSpans":' + "[" * 40 + "]" * 40 + "}\n"
    assert problems(deep.encode(), max_depth=30)[0][0] == "document.too_deep"
    hostile = b'{"a":' + b"[" * 100_000 + b"\n{}\n"
    assert problems(hostile)[0][0] in ("document.too_deep", "document.json_syntax")
