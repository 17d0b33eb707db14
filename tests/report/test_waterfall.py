"""The waterfall, told of spans by a recorder whose clock is set by hand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core import names
from runner.report.waterfall import (
    ASCII,
    UNICODE,
    Waterfall,
    cells,
    clean,
    duration,
    fit,
    plain,
    step_line,
)
from runner.runtime.tracing import Listener, Recorder

MS = 1_000_000


def label(row):
    """Return the tree and the name at the beginning of a row."""
    return re.split(r" +(?:█|[0-9.]+ m?s)", row)[0]


class Play(Listener):
    """A recorder of 1 ms steps and the waterfall that watches it."""

    def __init__(self, most=200):
        self.waterfall = Waterfall(most)
        self.clock = 1_000_000 * MS
        self.recorder = Recorder("run-1", listeners=[self], now=lambda: self.clock)
        self.root = self.recorder.open("flow-demo", attributes={names.TASK_ID: "demo"})
        self.lines = []

    def opened(self, record):
        self.waterfall.opened(record)

    def ended(self, record):
        self.waterfall.ended(record)

    def sealed(self, record):
        self.lines.append(step_line(self.waterfall.sealed(record)))

    def pass_time(self, ms):
        self.clock += ms * MS

    def step(self, step_id, kind="http", parent=None, **attributes):
        values = {names.TASK_ID: step_id, names.TASK_TYPE: kind, **attributes}
        return self.recorder.open(f"{kind}-{step_id}", parent=parent or self.root, attributes=values)

    def send(self, step, status=None, ms=10, error=None):
        span = self.recorder.open("GET /x", "client", step)
        self.pass_time(ms)
        attributes = {names.HTTP_RESPONSE_STATUS_CODE: status} if status else {}
        if error:
            attributes[names.ERROR_TYPE] = error
        failed = error is not None or (status or 0) >= 400
        self.recorder.end(span, "error" if failed else "unset", attributes=attributes, hold=True)

    def succeed(self, span, **attributes):
        self.recorder.end(span, attributes={names.WORKFLOW_EXECUTION_RESULT: "success", **attributes})

    def fail(self, span, message="it broke", code="http.status", result="failure", **attributes):
        found = {
            names.WORKFLOW_EXECUTION_RESULT: result,
            names.ERROR_TYPE: code,
            names.FAILURE_CODE: code,
            names.ERROR_MESSAGE: message,
            names.FAILURE_PLACE: "steps[0]",
            **attributes,
        }
        self.recorder.end(span, "error", message, found)

    def skip(self, step_id, reason, detail=""):
        attributes = {
            names.TASK_ID: step_id,
            names.WORKFLOW_EXECUTION_RESULT: "skip",
            names.SKIP_REASON: reason,
            names.SKIP_DETAIL: detail,
        }
        self.recorder.skip(f"http-{step_id}", self.root, attributes)

    def text(self, width=80, signs=UNICODE, **options):
        return [plain(row) for row in self.waterfall.rows(width, self.clock, signs, **options)]


def test_a_run_is_drawn_as_a_tree_with_bars_to_its_scale():
    play = Play()
    first = play.step("register")
    play.send(first, 201, 40)
    play.succeed(first)
    second = play.step("verify")
    play.send(second, 500, 40)
    play.fail(second, "the server answered 500, expected 2xx")
    play.skip("welcome", "upstream", "verify has no token")
    play.fail(play.root, "the server answered 500, expected 2xx")
    assert play.text() == [
        "flow-demo       ██████████████████    80 ms ✗ failed",
        "├ http-register █████████             40 ms ✓ ok 201",
        "├ http-verify            █████████    40 ms ✗ failed 500: the server answered 5…",
        "└ http-welcome                              – skipped (upstream): verify has no…",
    ]


def test_ascii_has_the_same_rows_with_plain_signs():
    play = Play()
    step = play.step("ünit")
    play.send(step, 200)
    play.succeed(step)
    play.succeed(play.root)
    rows = play.text(signs=ASCII)
    assert rows[1].startswith("`-http-\\xfcnit ====")
    assert rows[1].endswith("10 ms + ok 200")
    assert "".join(rows).isascii()


def test_what_runs_has_a_bar_up_to_now():
    play = Play()
    first = play.step("a")
    play.pass_time(100)
    play.succeed(first)
    play.send(play.step("b"), 503, 100)
    rows = play.text()
    assert [row.split()[-2:] for row in rows] == [["▸", "running"], ["✓", "ok"], ["running", "503"]]
    assert rows[2].count("█") == pytest.approx(rows[0].count("█") / 2, abs=1)
    play.pass_time(600)
    assert play.text()[2].count("█") > rows[2].count("█")


def test_sends_have_rows_only_when_there_were_several():
    play = Play()
    step = play.step("a")
    play.send(step, 503)
    assert len(play.text()) == 2
    play.send(step, error="timeout")
    assert "running, 2 attempts" in play.text()[1]
    play.send(step, 200)
    play.succeed(step, **{names.STEP_ATTEMPTS: 3})
    rows = play.text()
    assert "✓ ok 200, 3 attempts" in rows[1]
    assert [label(row) for row in rows[2:]] == ["  ├ GET /x", "  ├ GET /x", "  └ GET /x"]
    assert [row[row.index(" ms") + 4 :] for row in rows[2:]] == [
        "✗ failed 503",
        "✗ failed: timeout",
        "✓ ok 200",
    ]


def test_of_many_sends_the_newest_have_rows():
    play = Play()
    step = play.step("a")
    for _ in range(50):
        play.send(step, 503)
    assert len(play.text()) == 2 + 10


def test_items_polls_and_visits_are_told_apart():
    play = Play()
    loop = play.step("loop", "forEach")
    for index in range(2):
        play.succeed(play.step("loop", "iteration", loop, **{names.INDEX: index}))
    play.succeed(play.step("wait", **{names.POLL: 3}))
    play.succeed(play.step("again", **{names.STEP_VISIT: 2}))
    assert [label(row).strip("├└│ ") for row in play.text()[2:]] == [
        "iteration-loop[0]",
        "iteration-loop[1]",
        "http-wait~3",
        "http-again#2",
    ]


def test_children_stand_below_their_parents_though_they_run_at_the_same_time():
    play = Play()
    one, two = play.step("one", "forEach"), play.step("two", "forEach")
    for index in range(2):
        for loop in (one, two):
            play.step(loop.attributes[names.TASK_ID], "iteration", loop, **{names.INDEX: index})
    assert [label(row) for row in play.text()] == [
        "flow-demo",
        "├ forEach-one",
        "│ ├ iteration-one[0]",
        "│ └ iteration-one[1]",
        "└ forEach-two",
        "  ├ iteration-two[0]",
        "  └ iteration-two[1]",
    ]


def test_a_deep_tree_stops_going_to_the_right():
    play = Play()
    span = play.root
    for depth in range(40):
        span = play.step(f"s{depth}", "flow", span)
    assert max(row.index("flow-s") for row in play.text(120)[1:]) <= 20


def test_of_a_large_run_failures_are_shown_and_the_rest_is_counted():
    play = Play(most=20)
    for number in range(1000):
        step = play.step(f"s{number}")
        if number in (500, 900):
            play.fail(step, "no", **{names.FAILURE_HANDLED: True})
        else:
            play.succeed(step)
    play.skip("last", "condition")
    play.succeed(play.root)
    rows = play.text()
    assert len(rows) == 21
    assert [row[2:11] for row in rows if "failed" in row] == ["http-s500", "http-s900"]
    assert rows[-1] == "… 982 more: 981 ok, 1 skipped"
    assert rows[0].endswith("✓ ok")


def test_a_small_screen_shows_what_runs_and_the_newest():
    play = Play()
    for number in range(30):
        play.succeed(play.step(f"s{number}"))
    play.step("now")
    rows = play.text(most=4, newest=True)
    assert [row.split()[1] for row in rows[1:4]] == ["http-s28", "http-s29", "http-now"]
    assert rows[-1] == "… 28 more: 28 ok"


def test_the_ancestors_of_a_failure_are_shown_with_it():
    play = Play(most=5)
    for number in range(20):
        play.succeed(play.step(f"s{number}"))
    loop = play.step("loop", "forEach")
    play.fail(play.step("loop", "iteration", loop, **{names.INDEX: 7}))
    play.fail(loop)
    shown = [label(row) for row in play.text()]
    assert shown[-3:] == ["└ forEach-loop", "  └ iteration-loop[7]", "… 18 more: 18 ok"]


def test_the_failure_of_a_run_is_the_first_unhandled_one_at_its_innermost():
    play = Play()
    play.fail(play.step("early"), "handled", **{names.FAILURE_HANDLED: True})
    loop = play.step("loop", "forEach")
    item = play.step("loop", "iteration", loop, **{names.STEP_PATH: "loop[3]"})
    play.fail(item, "the cause", "assert.failed")
    play.fail(loop, "the cause", "assert.failed")
    play.fail(play.step("later"), "a later one")
    play.fail(play.root, "the cause", "assert.failed")
    failure = play.waterfall.failure
    assert (failure.path, failure.text, failure.code, failure.where) == (
        "loop[3]",
        "the cause",
        "assert.failed",
        "steps[0]",
    )
    told = [row for row in play.text(120) if "the cause" in row]
    assert len(told) == 1, "a container does not repeat what an item told"


def test_a_run_without_a_failure_has_none():
    assert Waterfall().failure is None
    assert Waterfall().rows(80, 0) == []
    play = Play()
    play.succeed(play.root)
    assert play.waterfall.failure is None


@pytest.mark.parametrize(("result", "word"), [("cancellation", "cancelled"), ("timeout", "timed out")])
def test_what_was_cut_off_is_told_by_its_state(result, word):
    play = Play()
    for name in "abcdefg":
        play.fail(play.step(name), "the run was cut off", f"run.{word}", result)
    play.fail(play.root, "the run was cut off", "run.x", result)
    assert play.text()[1].endswith(f"✗ {word}")
    assert play.waterfall.cut == ["a", "b", "c", "d", "e"]
    assert play.lines[0] == f"✗ a: {word} in 0.0 ms"


def test_a_send_that_was_cut_off_is_cancelled_and_one_that_took_too_long_failed():
    play = Play()
    step = play.step("a")
    play.send(step, error="timeout")
    play.send(step, error="cancelled")
    assert [row.split(" ms ")[1] for row in play.text()[2:]] == ["✗ failed", "✗ cancelled"]


def test_hints_tell_of_withheld_retries_and_missing_outputs():
    play = Play()
    step = play.step("pay")
    play.recorder.event(step, names.EVENT_RETRY_WITHHELD, {names.REASON: "500: may have acted"})
    play.recorder.event(step, names.EVENT_OUTPUT_MISSING, {names.REASON: "no body.id"})
    play.recorder.event(step, names.EVENT_RETRY_SCHEDULED, {names.REASON: "503"})
    play.recorder.event(step, names.EVENT_OUTPUT_MISSING, {})
    play.succeed(step)
    assert [(hint.step, hint.text) for hint in play.waterfall.hints] == [
        ("pay", "500: may have acted"),
        ("pay", "no body.id"),
    ]


def test_hints_are_bounded():
    play = Play()
    for number in range(100):
        step = play.step(f"s{number}")
        play.recorder.event(step, names.EVENT_OUTPUT_MISSING, {names.REASON: "no x"})
        play.succeed(step)
    assert len(play.waterfall.hints) == 20


def test_text_is_taken_only_from_records_that_are_masked():
    play = Play()
    play.recorder.masker.add("hunter22")
    step = play.step("a")
    seen = []
    ended = play.waterfall.ended

    def spy(record):
        line = ended(record)
        seen.append((line.state, line.text))
        return line

    play.waterfall.ended = spy
    play.fail(step, "wrong password hunter22")
    assert seen == [("failed", "")]
    assert play.text(120)[1].endswith("✗ failed: wrong password [masked]")


def test_a_step_line_has_everything_in_one_line():
    play = Play()
    step = play.step("a", **{names.STEP_PATH: "loop[1]/a"})
    play.send(step, 404, 1500)
    play.fail(step, "two\nlines \x1b[31m", **{names.STEP_ATTEMPTS: 2})
    play.skip("b", "condition", "{{x}} is false")
    assert play.lines[-2:] == [
        "✗ loop[1]/a: failed 404, 2 attempts in 1.50 s: two lines \\x1b[31m",
        "– b: skipped (condition): {{x}} is false",
    ]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0.0 ms"),
        (9.94, "9.9 ms"),
        (9.96, "10 ms"),
        (999.4, "999 ms"),
        (999.6, "1.00 s"),
        (59_994, "59.99 s"),
        (59_996, "1m 00s"),
        (5_999_000, "99m 59s"),
        (6_000_000, "1h 40m"),
        (90 * 3_600_000, "90h 00m"),
    ],
)
def test_a_duration_is_short(ms, text):
    assert duration(ms) == text


@pytest.mark.parametrize(
    "odd",
    ["\x00", "\x1b", "\x7f", "\x85", "\u061c", "\u200e", "\u2028", "\u202e", "\u2066", "\ud800", "\ufeff"],
)
def test_a_character_that_could_steer_a_terminal_is_written_out(odd):
    shown = clean(f"a{odd}b")
    assert odd not in shown
    assert shown == f"a\\x{ord(odd):02x}b" if ord(odd) < 256 else f"a\\u{ord(odd):04x}b"


def test_line_breaks_and_tabs_become_blanks():
    assert clean("a\tb\r\nc") == "a b  c"


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("é", 1), ("", 0)])
def test_columns_are_counted_as_a_terminal_does(text, width):
    assert cells(text) == width


def test_a_cut_text_ends_in_a_sign_and_never_splits_a_wide_character():
    assert fit("abcdef", 6) == "abcdef"
    assert fit("abcdef", 5) == "abcd…"
    assert fit("日本語", 4) == "日…"
    assert fit("abcdef", 5, ASCII) == "ab..."
    assert fit("abcdef", 2, ASCII) == ".."
    assert fit("abcdef", 0) == ""


@given(
    st.lists(
        st.tuples(st.text(max_size=60), st.integers(0, 5000), st.text(max_size=200), st.booleans()),
        max_size=12,
    ),
    st.integers(20, 200),
    st.sampled_from([UNICODE, ASCII]),
)
def test_no_row_is_wider_than_the_width_or_holds_a_control_character(steps, width, signs):
    play = Play()
    for name, ms, message, fails in steps:
        span = play.step(name)
        play.send(span, 500 if fails else 200, ms)
        play.fail(span, message) if fails else play.succeed(span)
    rows = play.text(width, signs)
    assert len(rows) == len(steps) + 1
    for row in rows:
        assert cells(row) <= width
        assert row.isprintable() or not row.isascii()
        assert "\n" not in row
        assert "\x1b" not in row


def test_every_piece_of_a_row_says_what_it_stands_for():
    play = Play()
    play.fail(play.step("a"), "no")
    play.skip("b", "condition")
    roles = [[role for _, role in row] for row in play.waterfall.rows(80, play.clock)]
    assert roles == [
        ["", "running", "faint", "running"],
        ["", "failed", "faint", "failed"],
        ["", "skipped", "faint", "skipped"],
    ]


def test_a_narrow_terminal_has_no_bars():
    play = Play()
    play.succeed(play.step("a"))
    assert "█" not in "".join(play.text(50))
    assert "█" in "".join(play.text(60))


def test_more_failures_than_fit_are_counted_too():
    play = Play(most=6)
    for number in range(50):
        play.fail(play.step(f"s{number}"), "no")
    rows = play.text()
    assert [row.split()[1] for row in rows[1:-1]] == [f"http-s{number}" for number in range(5)]
    assert rows[-1] == "… 45 more: 45 failed"
