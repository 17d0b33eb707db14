"""The HTML page without a browser: what its block of data holds, and that nothing breaks out of it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import names
from runner.core.trace import SpanRecord, iso_time
from runner.core.trace_document import TraceDocument
from runner.report import html
from runner.report.html import data_block, html_page
from runner.runtime.files import page_files
from tests.pages import MS, START, Story, large, order, page

OLDER_NAMES = {"http.status_code", "http.method", "http.url"}
HOSTILE = '</script><script>alert(1)</script><!-- \u2028 \x00\x1b[31m \u202e {{script}} & "quoted" \ud800'


class Reader(HTMLParser):
    """Takes a page apart as a browser does: a script ends at its end tag, whatever stands in it."""

    def __init__(self, text):
        super().__init__()
        self.opened = []  # tags with their attributes
        self.texts = {}  # of scripts, styles and the title, by tag or id
        self._inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.opened.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id", tag) if tag in ("script", "style", "title") else None

    def handle_data(self, data):
        if self._inside:
            self.texts[self._inside] = self.texts.get(self._inside, "") + data

    def handle_endtag(self, tag):
        self._inside = None


def read(data: bytes) -> Reader:
    return Reader(data.decode("utf-8"))


def block(*traces):
    return json.loads(data_block(traces))


def trace_of(*records, name="a trace"):
    return TraceDocument(name, "", records, "integration-flow")


def span(name="a", span_id=1, parent=None, start=0, end=10, **attributes):
    record = SpanRecord(
        name, 7, span_id, parent, sequence=span_id, start=START + start, attributes=attributes
    )
    record.end, record.ended = START + end, True
    return record


def attributes_of(data, shown):
    places = iter(shown[7])
    return {data["keys"][key]: data["values"][value] for key, value in zip(places, places, strict=True)}


# --- the block of data


def test_a_span_keeps_its_name_times_ids_and_attributes():
    record = span("POST /x", 0xABC, start=5, end=1_000_000_005, **{"task.id": "a", "n": 1, "yes": True})
    record.kind = "client"
    data = block(trace_of(span("flow-x", 1, end=2_000_000_000), record))
    [trace] = data["traces"]
    assert (trace["name"], trace["id"], trace["start"]) == ("a trace", f"{7:032x}", iso_time(START))
    depth, name, start, duration, state, kind, span_id, *_ = shown = trace["spans"][1]
    assert (depth, data["values"][name], start, duration) == (0, "POST /x", 5, 1_000_000_000)
    assert (state, kind, span_id) == ("ok", "client", "0000000000000abc")
    assert attributes_of(data, shown) == {"task.id": "a", "n": 1, "yes": True, "span.kind": "client"}


def test_equal_numbers_of_different_types_stay_apart():
    data = block(trace_of(span(one=1, real=1.0, true=True, text="1")))
    values = attributes_of(data, data["traces"][0]["spans"][0])
    assert [type(value) for value in values.values()] == [int, float, bool, str]


def test_a_value_that_many_spans_share_is_there_once():
    text = data_block([trace_of(*(span(span_id=number, run="one long value") for number in range(1, 100)))])
    assert text.count("one long value") == 1


def test_values_are_narrowed_as_in_every_other_file():
    data = block(trace_of(span(big=2**60, pieces=["a", 1], nothing=None, odd=float("nan"))))
    shown = attributes_of(data, data["traces"][0]["spans"][0])
    assert shown == {"big": str(2**60), "pieces": '["a",1]', "odd": "NaN"}


def test_an_event_stands_with_its_time_and_attributes():
    record = span()
    record.events = [("delay", START + 4, {"runner.delay_ms": 3})]
    data = block(trace_of(record))
    [[name, at, pairs]] = data["traces"][0]["spans"][0][8]
    assert (data["values"][name], at) == ("delay", 4)
    assert [data["keys"][pairs[0]], data["values"][pairs[1]]] == ["runner.delay_ms", 3]


def test_spans_stand_in_the_order_of_the_tree_with_their_depth():
    child, other = span("child", 2, 1, start=5), span("other", 3, start=1)
    data = block(trace_of(span("root", 1), child, other, span("grandchild", 4, 2, start=6)))
    shown = [(depth, data["values"][name]) for depth, name, *_ in data["traces"][0]["spans"]]
    assert shown == [(0, "root"), (1, "child"), (2, "grandchild"), (0, "other")]


def test_an_item_of_a_loop_is_told_apart_from_its_siblings():
    data = block(trace_of(span("iteration-a", **{names.INDEX: 3})))
    assert "iteration-a[3]" in data["values"]


def test_the_parts_of_the_critical_path_name_their_spans():
    slow, quick = span("slow", 2, 1, end=9), span("quick", 3, 1, end=4)
    data = block(trace_of(span("root", 1), slow, quick))
    assert data["traces"][0]["critical"] == [[1, 0, 9], [0, 9, 10]]


def test_a_span_that_goes_on_lasts_as_long_as_the_trace():
    going = span("going", 2, 1, start=4)
    going.end, going.ended = None, False
    data = block(trace_of(span("root", 1), going))
    assert data["traces"][0]["spans"][1][2:5] == [4, 6, "running"]


def states(story):
    data = block(story.trace())
    return {data["values"][name]: state for _, name, _, _, state, *_ in data["traces"][0]["spans"]}


def test_a_failed_attempt_below_a_step_that_succeeded_counts_as_handled():
    story = Story()
    step = story.open("a")
    story.send(step, "GET", "/first", 5, 503)
    story.send(step, "GET", "/second", 5)
    story.end(step)
    story.end(story.root)
    assert states(story) == {
        "flow-Order a book": "ok",
        "http-a": "ok",
        "GET /first": "handled",
        "GET /second": "ok",
    }


def test_a_failed_attempt_of_the_step_that_failed_the_run_is_a_failure():
    found = states(order())
    assert (found["http-pay"], found["POST /payments"]) == ("failed", "failed")
    assert (found["http-coupon"], found["GET /coupons/{code}"]) == ("handled", "handled")
    assert (found["http-gift"], found["http-mail"]) == ("skipped", "skipped")


def test_a_trace_without_spans_is_left_out():
    assert block(trace_of(), trace_of(span()))["traces"] == block(trace_of(span()))["traces"]
    assert block() == {"keys": [], "values": [], "traces": []}


# --- nothing breaks out


def hostile_trace():
    record = span(HOSTILE, **{HOSTILE: HOSTILE})
    record.events = [(HOSTILE, START, {HOSTILE: HOSTILE})]
    return TraceDocument(HOSTILE, HOSTILE, [record], "integration-flow")


def test_hostile_text_stays_text():
    reader = read(html_page(HOSTILE, [hostile_trace()], page_files()))
    data = json.loads(reader.texts["data"])
    assert [tag for tag, _ in reader.opened].count("script") == 2
    shown = HOSTILE.replace("\ud800", "\ufffd")
    assert data["values"] == [shown]
    assert data["keys"] == [shown]
    assert data["traces"][0]["name"] == shown
    assert "\x1b" not in reader.texts["title"]
    assert "</script><script>alert(1)</script><!--" in reader.texts["title"]


@given(st.text(), st.text())
def test_any_text_comes_back_from_the_block(name, value):
    text = data_block([TraceDocument(name, "", [span(name, value=value)], "integration-flow")])
    data = json.loads(text)
    assert not set(text) & set("<\u2028\u2029")
    assert data["traces"][0]["name"] == name
    assert attributes_of(data, data["traces"][0]["spans"][0]) == {"value": value}


@given(st.text())
def test_any_title_is_one_line_of_text(title):
    reader = read(html_page(title, [], page_files()))
    assert [tag for tag, _ in reader.opened].count("title") == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]", reader.texts.get("title", ""))


def test_the_policy_allows_the_scripts_and_styles_of_the_page_and_nothing_else():
    reader = read(page(order()))
    [policy] = [attrs["content"] for tag, attrs in reader.opened if attrs.get("http-equiv")]
    found = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    digest = {
        tag: base64.b64encode(hashlib.sha256(reader.texts[tag].encode()).digest()).decode()
        for tag in ("script", "style")
    }
    assert found == {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest['script']}'",
        "style-src": f"'sha256-{digest['style']}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_the_page_refers_to_nothing_outside_of_it():
    reader = read(page(order()))
    for tag, attrs in reader.opened:
        for key in ("src", "href", "action", "data", "srcset"):
            assert attrs.get(key, "#").startswith(("#", "data:")), (tag, attrs)
    code = reader.texts["script"] + reader.texts["style"]
    assert re.findall(r"https?://[^\"']+", code) == ["http://www.w3.org/2000/svg"]
    assert "@import" not in code
    assert "url(" not in code


def test_the_scripts_never_write_markup():
    script = page_files().script
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "DOMParser",
    ):
        assert way not in script


def test_the_scripts_know_only_attributes_that_traces_have():
    found = set(re.findall(r'(?:get\(|lookUp\(pairs, |_BODY = |HEADER = )"([^"]+)"', page_files().script))
    found |= set(re.findall(r'"(http\.[^"]+)"', page_files().script))
    families = {family.removesuffix("<name>") for family in names.ATTRIBUTES}
    unknown = {name for name in found - OLDER_NAMES if name not in families}
    assert unknown == set()
    assert {names.HTTP_RESPONSE_STATUS_CODE, names.HTTP_RESPONSE_BODY_CONTENT, names.DELAY_MS} <= found


# --- how large it gets


def test_five_thousand_spans_stay_below_two_megabytes():
    data = page(large(5000))
    assert len(json.loads(read(data).texts["data"])["traces"][0]["spans"]) == 5000
    assert len(data) < 2_000_000


def test_five_thousand_spans_with_large_bodies_stay_below_eight_megabytes():
    spans = [span("GET /x", number, body=f"{number} " + "ä\x01<" * 5000) for number in range(1, 5001)]
    data = html_page("bodies", [trace_of(*spans)], page_files())
    assert len(data) <= 8_000_000
    assert "more characters are left out of this page" in read(data).texts["data"]


def test_long_values_are_whole_as_long_as_there_is_room():
    body = "b" * 16_000
    data = block(trace_of(span(body=body)))
    assert body in data["values"]


def test_no_more_is_cut_off_than_must_be(monkeypatch):
    monkeypatch.setattr(html, "MOST_VALUES", 5_000)
    data = block(trace_of(span("short", body="b" * 6_000, number=7)))
    assert data["values"] == ["short", "b" * 4_096 + "… (1904 more characters are left out of this page)", 7]


@pytest.mark.parametrize("spans", [15, 40])
def test_a_recorded_trace_has_all_its_spans(spans):
    story = large(spans)
    assert len(block(story.trace())["traces"][0]["spans"]) == spans
    assert story.clock - START < 3_600_000 * MS
