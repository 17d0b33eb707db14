"""`runner show`: traces out of files, those of others too, as a person and as a program see them."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from runner.report.trace_view import SPAN_FIELDS, TRACE_FIELDS
from tests.command import COMMAND, Terminal, command, environment, flow_file, get, here, needs_full_device
from tests.servers import ApiServer, Reply, echo
from tests.traces import CLIENT, CONSUMER, SERVER, failed_run, otlp, send, span, step, write

EXPECTED = "    if this answer is expected, list it in 'expectedStatus'; --capture-bodies keeps its body in the trace"


def show(folder, *words, by=here, **options):
    return by("show", *words, cwd=folder, **options)


def rows(folder, *words, **options):
    done = show(folder, *words, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def labels(shown):
    return [re.split(r" {2,}| [◆✓✗–█▸] ?", row.lstrip("├└│ "))[0] for row in shown]


def several_services():
    """Return a trace of three services, none of them ours, with a part whose parent is nowhere."""
    return otlp(
        web=[
            span("GET /checkout", 0, 300, number=1, kind=SERVER, http__status_code=502),
            span(
                "POST shop",
                5,
                290,
                number=2,
                parent=1,
                kind=CLIENT,
                error="",
                http__response__status_code=500,
            ),
        ],
        shop=[
            span("POST /orders", 15, 280, number=3, parent=2, kind=SERVER, error=""),
            span("SELECT orders", 20, 70, number=4, parent=3, kind=CLIENT),
            span(
                "charge",
                80,
                270,
                number=5,
                parent=3,
                error="",
                events=[("exception", {"exception.message": "card declined \x1b[31m"})],
            ),
            span("cleanup", 310, 330, number=6, parent=0x99, kind=CONSUMER),
        ],
        mail=[span("process mails", 320, 350, number=7, parent=6, kind=CONSUMER)],
    )


def many(count):
    spans = [span("root", 0, count, number=1)]
    spans += [
        span(f"op-{at}", at - 2, at - 1, number=at, parent=1, error="no" if at == count // 2 else None)
        for at in range(2, count + 1)
    ]
    return otlp(batch=spans)


def test_a_trace_is_a_tree_with_bars_reasons_and_its_critical_path(tmp_path):
    assert rows(tmp_path, write(tmp_path, failed_run())) == [
        "flow-orders     ██████████████████   100 ms ✗ failed",
        "├ http-quick    ████                  20 ms ✓ ok 200",
        "├ http-slow   ◆ ███████████           60 ms ✓ ok 200, 2 attempts",
        "│ ├ GET /slow ◆ ██                   9.0 ms ✗ failed 503",
        "│ └ GET /slow ◆        ████           19 ms ✓ ok 200",
        "├ http-admin                                – skipped (condition): {{input.user…",
        "└ http-pay    ◆           ███████     35 ms ✗ failed 500: the server answered 5…",
        "✗ failed in 100 ms: 2 failed, 2 ok, 1 skipped",
        "  step pay: the server answered 500, expected 2xx",
        "    at steps[3].expectedStatus (http.status)",
        EXPECTED,
        "  step pay: not sent again after 500: the server may have acted",
        "  ◆ critical path, mostly http-slow (60 ms), http-pay (35 ms), flow-orders (5.0 ms)",
        "  trace 00000000000000000000000000000001, trace.json",
    ]


def test_a_trace_of_others_is_shown_with_its_services_and_its_loose_parts(tmp_path):
    assert rows(tmp_path, write(tmp_path, several_services())) == [
        "GET /checkout (web)     ◆ █████████████     300 ms ✓ ok 502",
        "└ POST shop             ◆ █████████████     285 ms ✗ failed 500",
        "  └ POST /orders (shop) ◆ ████████████      265 ms ✗ failed",
        "    ├ SELECT orders     ◆ ███                50 ms ✓ ok",
        "    └ charge            ◆    █████████      190 ms ✗ failed: card declined \\x1b…",
        "cleanup (shop)          ◆              █     20 ms ✓ ok",
        "└ process mails (mail)  ◆              ██    30 ms ✓ ok",
        "✓ succeeded in 350 ms: 4 ok, 3 failed",
        "  span charge: card declined \\x1b[31m",
        "  ◆ critical path, mostly charge (190 ms), SELECT orders (50 ms), POST /orders (shop) (25 ms)",
        "  trace 00000000000000000000000000000001, trace.json",
    ]


def test_a_run_can_be_looked_at_again(tmp_path):
    with ApiServer(echo) as api:
        api.on("/again", Reply(503), Reply())
        flow = flow_file(tmp_path, get("a"), get("again", retry={"maxAttempts": 2, "initialInterval": 1}))
        ran = here(
            "run", flow.name, "-e", f"API={api.origin}", "--trace-out", "t.json", cwd=tmp_path
        ).stdout.splitlines()
    shown = rows(tmp_path, "t.json")
    assert (
        labels(shown[:5])
        == labels(ran[:5])
        == ["flow-flow", "http-a", "http-again", "GET /again", "GET /again"]
    )
    assert [row.split(" ms ")[1] for row in shown[:5]] == [row.split(" ms ")[1] for row in ran[:5]]
    assert shown[5].startswith("✓ succeeded in ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--errors",), ["flow-orders", "http-pay"]),
        (("--min-ms", "35"), ["flow-orders", "http-slow", "GET /slow", "GET /slow", "http-pay"]),
        (("--min-ms", "35.5"), ["flow-orders", "http-slow", "GET /slow", "GET /slow"]),
        (("--step", "slow"), ["flow-orders", "http-slow", "GET /slow", "GET /slow"]),
        (("--step", "pay", "--errors", "--min-ms", "30"), ["flow-orders", "http-pay"]),
    ],
)
def test_only_what_is_wanted_is_shown_with_its_ancestors(tmp_path, words, expected):
    shown = rows(tmp_path, write(tmp_path, failed_run()), *words)
    end = next(number for number, row in enumerate(shown) if row.startswith("✗ failed in"))
    assert labels(shown[:end]) == expected


def test_what_nothing_matches_is_said(tmp_path):
    assert rows(tmp_path, write(tmp_path, failed_run()), "--step", "slow", "--errors") == [
        "  no span matches"
    ]


def test_an_item_of_a_loop_can_be_chosen_by_its_path(tmp_path):
    items = [
        step(
            "each",
            10 * at,
            10 * at + 10,
            kind="iteration",
            number=3 + at,
            parent=2,
            runner__step__path=f"each[{at}]",
            runner__index=at,
        )
        for at in range(3)
    ]
    loop = otlp(
        x=[
            span("flow-f", 0, 30, number=1, task__id="f"),
            step("each", 0, 30, kind="forEach", number=2),
            *items,
        ]
    )
    assert labels(rows(tmp_path, write(tmp_path, loop), "--step", "each[1]")[:3]) == [
        "flow-f",
        "forEach-each",
        "iteration-each[1]",
    ]


def test_a_step_that_is_not_there_is_a_mistake_with_a_suggestion(tmp_path):
    done = show(tmp_path, write(tmp_path, failed_run()), "--step", "slov")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "--step: no step 'slov' in the trace; did you mean 'slow'?\n"


def test_every_trace_of_every_file_is_shown(tmp_path):
    lines = [otlp(x=[span(f"t{number}", 0, 5, number=1, trace=number)]) for number in (1, 2)]
    files = (
        write(tmp_path, lines, "spool.jsonl"),
        write(tmp_path, otlp(x=[span("t3", 0, 5, number=1, trace=3)])),
    )
    shown = rows(tmp_path, *files, files[0])
    assert shown == [
        "t1 ████████████████████████████████████████   5.0 ms ✓ ok",
        "✓ succeeded in 5.0 ms: 1 ok",
        "  trace 00000000000000000000000000000001, spool.jsonl",
        "",
        "t2 ████████████████████████████████████████   5.0 ms ✓ ok",
        "✓ succeeded in 5.0 ms: 1 ok",
        "  trace 00000000000000000000000000000002, spool.jsonl",
        "",
        "t3 ████████████████████████████████████████   5.0 ms ✓ ok",
        "✓ succeeded in 5.0 ms: 1 ok",
        "  trace 00000000000000000000000000000003, trace.json",
    ]


def test_a_filter_leaves_out_the_traces_that_it_does_not_match(tmp_path):
    lines = [
        otlp(x=[span(f"t{at}", 0, 5, number=1, trace=at, error="no" if at == 2 else None)])
        for at in (1, 2, 3)
    ]
    assert labels(rows(tmp_path, write(tmp_path, lines), "--errors"))[0] == "t2"
    shown = json.loads("\n".join(rows(tmp_path, "trace.json", "--errors", "--json")))
    assert [len(trace["spans"]) for trace in shown["traces"]] == [0, 1, 0]


def test_every_form_of_a_trace_looks_the_same(tmp_path):
    write(tmp_path, failed_run(), "otlp.json")
    assert show(tmp_path, "otlp.json", "--trace-out", "flow.json", "--quiet").returncode == 0
    flow = json.loads((tmp_path / "flow.json").read_text())
    write(tmp_path, flow["spans"], "spans.jsonl")
    write(tmp_path, [failed_run(), otlp()], "spool.jsonl")
    expected = rows(tmp_path, "otlp.json")[:-1]
    for name in ("flow.json", "spans.jsonl", "spool.jsonl"):
        assert rows(tmp_path, name)[:-1] == expected, name


def test_a_trace_can_come_through_a_pipe(tmp_path):
    shown = rows(tmp_path, "-", by=command, stdin=json.dumps(failed_run()))
    assert shown[0].startswith("flow-orders")
    assert shown[-1] == "  trace 00000000000000000000000000000001, standard input"


def test_what_could_not_be_delivered_can_be_looked_at(tmp_path):
    with ApiServer(echo) as api:
        nowhere = api.origin
    flow = flow_file(tmp_path, {"id": "a", "set": {"x": 1}})
    assert (
        here("run", flow.name, "--otlp-endpoint", nowhere, "--trace-out", "t.json", cwd=tmp_path).returncode
        == 0
    )
    [spool] = (tmp_path / ".runner" / "spool").iterdir()
    assert rows(tmp_path, spool)[:-1] == rows(tmp_path, "t.json")[:-1]


def test_json_has_the_fields_that_the_reference_lists(tmp_path):
    done = show(tmp_path, write(tmp_path, failed_run()), "--json", by=command)
    assert done.stderr == ""
    [trace] = json.loads(done.stdout)["traces"]
    assert list(trace) == list(TRACE_FIELDS)
    assert {tuple(one) for one in trace["spans"]} == {tuple(SPAN_FIELDS)}
    assert {key: trace[key] for key in [*TRACE_FIELDS][:6]} == {
        "name": "flow-orders",
        "description": "",
        "traceId": f"{1:032x}",
        "status": "failed",
        "startTime": "2026-01-01T00:00:00.000000000Z",
        "durationMs": 100.0,
    }
    assert [(one["name"], one["startMs"], one["durationMs"]) for one in trace["criticalPath"]] == [
        ("http-slow", 0.0, 1.0),
        ("GET /slow", 1.0, 9.0),
        ("http-slow", 10.0, 30.0),
        ("GET /slow", 40.0, 19.0),
        ("http-slow", 59.0, 1.0),
        ("http-pay", 60.0, 1.0),
        ("GET /pay", 61.0, 33.0),
        ("http-pay", 94.0, 1.0),
        ("flow-orders", 95.0, 5.0),
    ]
    pay = trace["spans"][7]
    assert pay == {
        "spanId": f"{8:016x}",
        "parentSpanId": f"{1:016x}",
        "name": "http-pay",
        "kind": "internal",
        "service": "runner",
        "taskId": "pay",
        "taskType": "http",
        "path": "pay",
        "status": "failed",
        "startMs": 60.0,
        "durationMs": 35.0,
        "httpStatus": 500,
        "attempts": None,
        "code": "http.status",
        "message": "the server answered 500, expected 2xx",
        "place": "steps[3].expectedStatus",
        "critical": True,
        "criticalMs": 2.0,
    }
    assert [one["status"] for one in trace["spans"]] == [
        *("failed", "ok", "ok", "ok", "failed", "ok", "skipped", "failed", "failed")
    ]


def test_a_run_that_goes_on_is_running_up_to_the_time_of_the_file(tmp_path):
    write(
        tmp_path,
        otlp(x=[span("flow-f", 0, 50, number=1), step("a", 0, 20, number=2), step("b", 20, 50, number=3)]),
    )
    show(tmp_path, "trace.json", "--trace-out", "flow.json", "--quiet")
    flow = json.loads((tmp_path / "flow.json").read_text())
    for number in (0, 2):
        flow["spans"][number]["ended"] = False
    write(tmp_path, flow, "flow.json")
    shown = rows(tmp_path, "flow.json")
    assert [row.split(" ms ")[-1] for row in shown[:3]] == ["▸ running", "✓ ok", "▸ running"]
    assert shown[2].count("█") > shown[1].count("█")
    assert shown[3] == "▸ running in 50 ms: 2 running, 1 ok"
    [trace] = json.loads("\n".join(rows(tmp_path, "flow.json", "--json")))["traces"]
    assert trace["status"] == "running"
    assert trace["spans"][2]["durationMs"] == 30.0


def test_a_run_that_was_cut_off_says_where(tmp_path):
    cut = {"result": "cancellation", "error": "the run was cancelled"}
    root = span(
        "flow-f",
        0,
        50,
        number=1,
        error="the run was cancelled",
        task__id="f",
        workflow__execution__result="cancellation",
    )
    write(tmp_path, otlp(x=[root, step("a", 0, 20, number=2), step("b", 20, 50, number=3, **cut)]))
    shown = rows(tmp_path, "trace.json")
    assert shown[3:5] == ["✗ cancelled in 50 ms: 2 cancelled, 1 ok", "  cut off: b"]


def test_a_failure_that_the_flow_handled_is_not_what_it_failed_of(tmp_path):
    write(
        tmp_path,
        otlp(
            x=[
                span("flow-f", 0, 50, number=1, task__id="f"),
                step("a", 0, 20, number=2, error="boom", result="failure", runner__failure__handled=True),
                step("b", 1, 20, number=3, parent=2, error="inner", result="failure"),
            ]
        ),
    )
    shown = rows(tmp_path, "trace.json")
    assert shown[3] == "✓ succeeded in 50 ms: 1 ok, 1 failed (handled), 1 failed"
    assert not any("boom" in row or "inner" in row for row in shown[3:])


def test_a_trace_of_no_length_and_one_without_spans_can_be_shown(tmp_path):
    write(tmp_path, otlp(x=[span("zero", 0, 0, number=1), span("child", 0, 0, number=2, parent=1)]))
    assert [row.split() for row in rows(tmp_path, "trace.json")[:3]] == [
        ["zero", "█", "0.0", "ms", "✓", "ok"],
        ["└", "child", "█", "0.0", "ms", "✓", "ok"],
        ["✓", "succeeded", "in", "0.0", "ms:", "2", "ok"],
    ]
    write(tmp_path, {"name": "none", "description": "", "spans": []}, "none.json")
    assert rows(tmp_path, "none.json") == ["– no spans in none.json"]
    [trace] = json.loads("\n".join(rows(tmp_path, "none.json", "--json")))["traces"]
    assert (trace["traceId"], trace["startTime"], trace["spans"]) == (None, None, [])


def test_a_pipe_gets_every_row_of_a_large_trace_and_its_reader_may_leave(tmp_path):
    name = write(tmp_path, many(10_000))
    shown = rows(tmp_path, name)
    assert len(shown) == 10_000 + 4
    assert shown[-3] == "  span op-5000: no"
    reader, writer = os.pipe()
    with subprocess.Popen(
        [*COMMAND, "show", name],
        cwd=tmp_path,
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(writer)
        with os.fdopen(reader) as file:
            assert file.readline().startswith("root")
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_a_terminal_gets_failures_and_the_critical_path_first(tmp_path):
    terminal = Terminal("show", write(tmp_path, many(1_000)), cwd=tmp_path, lines=500)
    assert terminal.end() == 0
    screen = terminal.screen
    assert len(screen) == 200 + 1 + 4
    assert sum("op-500 " in row for row in screen) == 1
    assert screen[200] == "… 800 more: 800 ok; a pipe gets them all"


@pytest.mark.parametrize(
    ("words", "env", "coloured"),
    [((), {}, True), (("--no-color",), {}, False), ((), {"NO_COLOR": "1"}, False)],
)
def test_a_terminal_has_colours_unless_they_are_not_wanted(tmp_path, words, env, coloured):
    terminal = Terminal("show", write(tmp_path, failed_run()), *words, cwd=tmp_path, **env)
    assert terminal.end() == 0
    assert ("\x1b[35m◆" in terminal.text) is coloured
    assert ("\x1b" in terminal.text) is coloured


@pytest.mark.parametrize("columns", [20, 40, 60, 200])
def test_rows_fit_the_width(tmp_path, columns):
    shown = rows(tmp_path, write(tmp_path, several_services()), COLUMNS=str(columns))
    assert max(map(len, shown[:7])) <= columns
    assert sum("◆" in row for row in shown[:7]) == 7


def test_a_place_without_such_signs_gets_plain_ones(tmp_path):
    shown = rows(tmp_path, write(tmp_path, failed_run()), by=command, PYTHONIOENCODING="ascii")
    assert "".join(shown).isascii()
    assert shown[2].startswith("|-http-slow   * ====")


def test_everything_that_is_wrong_with_the_files_is_told_at_once(tmp_path):
    (tmp_path / "broken.json").write_text('{"spans": [\n  {"name": 1}, oops]}')
    (tmp_path / "other.json").write_text('{"steps": []}')
    good = write(tmp_path, failed_run())
    done = show(tmp_path, good, "none.json", "broken.json", "other.json", ".", "--trace-out", "no/t.json")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("--trace-out: cannot write 'no/t.json'")
    assert lines[1] == "there is no file 'none.json'"
    assert lines[2].startswith("broken.json:2:")
    assert "no trace of a known kind: found 'steps'" in lines[3]
    assert "'.' cannot be read" in lines[4]


def test_a_file_beyond_the_limit_is_refused_with_the_flag_that_raises_it(tmp_path):
    done = show(tmp_path, write(tmp_path, failed_run()), "--max-document", "1k")
    assert done.returncode == 2
    assert "is larger than 1024 bytes; see --max-document" in done.stderr


def test_what_had_to_be_guessed_is_told_but_not_without_end(tmp_path):
    write(tmp_path, otlp(x=[span(f"s{at}", 0, 1, number=at) for at in range(1, 9)]))
    show(tmp_path, "trace.json", "--trace-out", "flow.json", "--quiet")
    flow = json.loads((tmp_path / "flow.json").read_text())
    for one in flow["spans"]:
        one["colour"] = "red"
    write(tmp_path, flow, "flow.json")
    done = show(tmp_path, "flow.json")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert lines[0].startswith("flow.json: spans[0].colour: warning: 'colour' is no field of a span")
    assert lines[5:] == ["flow.json: 3 more warnings"]
    assert show(tmp_path, "flow.json", "--quiet").stderr == ""


def test_an_integration_flow_can_be_made_of_one_trace_only(tmp_path):
    lines = [otlp(x=[span("a", 0, 5, number=1, trace=number)]) for number in (1, 2)]
    done = show(tmp_path, write(tmp_path, lines), "--trace-out", "flow.json")
    assert done.returncode == 2
    assert "an IntegrationFlow holds one trace, and here are 2" in done.stderr
    assert not (tmp_path / "flow.json").exists()


def test_a_trace_out_of_a_file_can_be_written_as_an_integration_flow(tmp_path):
    done = show(tmp_path, write(tmp_path, failed_run()), "--trace-out", "flow.json")
    assert done.stdout.splitlines()[-1] == "  the trace is in flow.json"
    assert json.loads((tmp_path / "flow.json").read_text())["spans"][0]["name"] == "flow-orders"
    told = show(tmp_path, "trace.json", "--trace-out", "flow.json", "--json")
    assert told.stderr == "  the trace is in flow.json\n"


@needs_full_device
def test_a_file_that_could_not_be_written_is_exit_3(tmp_path):
    done = show(tmp_path, write(tmp_path, failed_run()), "--trace-out", "/dev/full")
    assert done.returncode == 3
    assert done.stdout.startswith("flow-orders")
    assert done.stderr == "cannot write '/dev/full': no space left on device\n"
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(
            [*COMMAND, "show", "trace.json"],
            cwd=tmp_path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=25,
            check=False,
        )
    assert (told.returncode, told.stderr) == (3, "cannot write standard output: no space left on device\n")


@pytest.mark.parametrize("words", [("--min-ms", "-1"), ("--min-ms", "x"), ("--min-ms", "nan")])
def test_a_filter_that_makes_no_sense_is_refused(tmp_path, words):
    done = show(tmp_path, write(tmp_path, failed_run()), *words)
    assert done.returncode == 2
    assert "is not a number of milliseconds" in done.stderr


def test_one_send_without_rows_of_its_own_belongs_to_its_step(tmp_path):
    write(
        tmp_path,
        otlp(
            runner=[
                span("flow-f", 0, 50, number=1, task__id="f"),
                step("a", 0, 50, number=2),
                send("a", 5, 45, number=3, parent=2, status=200),
            ],
            shop=[span("GET /a", 10, 40, number=4, parent=3, kind=SERVER)],
        ),
    )
    shown = rows(tmp_path, "trace.json")
    assert labels(shown[:4]) == ["flow-f (runner)", "http-a", "GET /a", "GET /a (shop)"], (
        "the server answered for it"
    )
