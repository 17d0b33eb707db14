"""The command line on a terminal: a picture that moves, and what is left of it in the end."""

import json
import re

import pytest

from tests.command import Terminal, flow_file, get, shown
from tests.servers import Reply


def on_terminal(flow, api, *words, **options):
    return Terminal("run", flow.name, "-e", f"API={api.origin}", *words, cwd=flow.parent, **options)


def frames(text):
    """Return each picture that was drawn: drawing anew begins by moving up over the one before."""
    return [shown(picture) for picture in re.split(r"(?:\r?\x1b\[2K(?:\x1b\[1A\x1b\[2K)+)", text)]


def test_the_run_is_seen_while_it_goes_on_and_its_summary_stays(tmp_path, api):
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("quick"), get("slow"), get("bad", **{"assert": "false"}))
    terminal = on_terminal(flow, api)
    terminal.read_until("http-slow")
    terminal.read_until("▸ running")
    gate.release()
    assert terminal.end() == 1
    assert any("▸ running" in row for frame in frames(terminal.text) for row in frame if "http-slow" in row)
    screen = terminal.screen
    assert [row.split()[0] for row in screen[:2]] == ["flow-flow", "├"]
    assert [row.split()[1] for row in screen[1:4]] == ["http-quick", "http-slow", "http-bad"]
    assert screen[3].startswith("└ ")
    assert screen[4].startswith("✗ failed in ")
    assert "step bad: false does not hold" in screen[5]
    assert sum("http-bad" in row for row in screen) == 1, "the picture is not printed a second time"
    assert terminal.text.rindex("\x1b[?25h") > terminal.text.rindex("\x1b[?25l"), "the cursor is back"


def test_the_last_picture_is_the_static_waterfall_line_by_line(tmp_path, api):
    api.on("/again", Reply(503), Reply())
    flow = flow_file(
        tmp_path,
        get("a"),
        get("again", retry={"maxAttempts": 2, "initialInterval": 1}),
        get("no", condition="false"),
    )
    report = tmp_path / "report.txt"
    terminal = on_terminal(flow, api, stdout=report)
    assert terminal.end() == 0
    written = report.read_text(encoding="utf-8").splitlines()
    assert len(terminal.screen) == 6
    assert terminal.screen == written[:6]
    assert written[6].startswith("✓ succeeded in ")
    assert "\x1b" not in report.read_text(encoding="utf-8")


def test_json_leaves_stdout_to_the_program_that_reads_it(tmp_path, api):
    result = tmp_path / "result.json"
    terminal = on_terminal(flow_file(tmp_path, get("a")), api, "--json", stdout=result)
    assert terminal.end() == 0
    assert json.loads(result.read_text())["status"] == "succeeded"
    assert "http-a" in terminal.text
    assert "✓ succeeded in" in terminal.text


def test_a_terminal_for_stdout_alone_gets_the_picture_and_stderr_no_lines(tmp_path, api):
    errors = tmp_path / "errors.txt"
    terminal = on_terminal(flow_file(tmp_path, get("a")), api, stderr=errors)
    assert terminal.end() == 0
    assert "http-a" in terminal.text
    assert errors.read_text() == ""


@pytest.mark.parametrize(
    ("words", "env", "coloured"),
    [
        ((), {}, True),
        (("--no-color",), {}, False),
        ((), {"NO_COLOR": "1"}, False),
        ((), {"NO_COLOR": ""}, True),
    ],
)
def test_colours_can_be_switched_off(tmp_path, api, words, env, coloured):
    terminal = on_terminal(flow_file(tmp_path, get("a")), api, *words, **env)
    assert terminal.end() == 0
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal.text)) is coloured
    assert "http-a" in terminal.text


def test_a_terminal_that_knows_no_control_sequences_gets_lines(tmp_path, api):
    terminal = on_terminal(flow_file(tmp_path, get("a")), api, TERM="dumb")
    assert terminal.end() == 0
    assert "\x1b" not in terminal.text
    assert "✓ a: ok 200 in" in terminal.text
    assert "└ http-a" in terminal.text


def test_quiet_draws_nothing(tmp_path, api):
    terminal = on_terminal(flow_file(tmp_path, get("a")), api, "--quiet")
    assert terminal.end() == 0
    assert terminal.text == ""


def test_pictures_fit_the_screen_and_the_last_one_is_whole(tmp_path, api):
    gate = api.hold("/slow")
    loop = get("loop", forEach=list(range(60)), maxConcurrency=5)
    loop["url"] = "{{env.API}}/{{item}}"
    flow = flow_file(tmp_path, loop, get("slow"))
    terminal = on_terminal(flow, api, lines=12, columns=70)
    terminal.read_until("http-slow")
    terminal.read_until("more:")
    gate.release()
    assert terminal.end() == 0
    pictures = frames(terminal.text)
    moving = [len(picture) for picture in pictures[:-1]]
    assert max(moving) <= 11
    assert all(len(row) <= 70 for picture in pictures for row in picture if "http" in row)
    assert sum("iteration-loop[" in row for row in terminal.screen) == 60


def test_a_picture_is_drawn_at_most_ten_times_a_second(tmp_path, api):
    api.on("/slow", Reply(delay=0.6))
    items = get("items", forEach=list(range(200)), maxConcurrency=20)
    items["url"] = "{{env.API}}/{{item}}"
    terminal = on_terminal(
        flow_file(tmp_path, items, get("slow")), api, "--json", stdout=tmp_path / "result.json"
    )
    assert terminal.end() == 0
    seconds = json.loads((tmp_path / "result.json").read_text())["durationMs"] / 1000
    assert len(frames(terminal.text)) <= seconds * 10 + 4


def test_what_a_server_says_cannot_steer_the_terminal(tmp_path, api):
    api.on("/a", Reply(200, {"x": "\x1b[2Jgone\x07"}))
    flow = flow_file(tmp_path, get("a", **{"assert": "response.body.x === 'y'"}))
    terminal = on_terminal(flow, api)
    assert terminal.end() == 1
    assert "gone" in terminal.text
    assert "\x1b[2J" not in terminal.text
    assert "\x07" not in terminal.text
