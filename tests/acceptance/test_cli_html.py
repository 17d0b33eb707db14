"""`--html`, of `run` and of `show`: the file that is written. tests/live/test_html.py opens one in a browser."""

import json
import re

import pytest

from tests.command import flow_file, get, here
from tests.servers import ApiServer, Reply
from tests.traces import failed_run, otlp, span, write

TEXT = [("content-type", "text/plain; charset=utf-8")]
SECRET = "open sesame 4711"
HOSTILE = '</script><script>alert("x")</script><!--\u2028\x00' + SECRET


def block(folder, name="page.html"):
    """Return the data in a page, taken out as a browser does: to the first end of a script."""
    text = (folder / name).read_text(encoding="utf-8")
    return json.loads(
        re.search(r'<script id="data" type="application/json">(.*?)</script', text, re.DOTALL)[1]
    )


def names_of(trace, data):
    return [data["values"][name] for _, name, *_ in trace["spans"]]


def test_a_run_is_written_as_a_page(tmp_path):
    flow_file(tmp_path, get("a"), name="flow.json")
    with ApiServer(lambda request: Reply(body={"ok": True})) as api:
        done = here("run", "flow.json", "-e", f"API={api.origin}", "--html", "page.html", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "  the page is in page.html"
    data = block(tmp_path)
    [trace] = data["traces"]
    assert names_of(trace, data) == ["flow-flow", "http-a", "GET /a"]
    assert (trace["name"], trace["state"], trace["cause"]) == ("flow", "ok", None)


def test_a_page_of_a_failed_run_names_what_it_failed_of_and_no_secret(tmp_path):
    step = get("a", url="{{env.API}}/a?token={{env.API_TOKEN}}", outputs={"x": "response.body.x"})
    flow_file(tmp_path, step, name="flow.json")
    answer = Reply(500, body=HOSTILE, headers=[*TEXT, ("x-request-id", SECRET)])
    with ApiServer(lambda request: answer) as api:
        done = here(
            "run", "flow.json", "-e", f"API={api.origin}", "-e", f"API_TOKEN={SECRET}", "--capture-bodies",
            "--html", "page.html", "--name", "nightly", "--quiet", cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 1
    data = block(tmp_path)
    [trace] = data["traces"]
    assert (trace["name"], trace["state"]) == ("nightly", "failed")
    assert names_of(trace, data)[trace["cause"]] == "http-a"
    assert HOSTILE.replace(SECRET, "[masked]") in data["values"]
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>nightly</title>" in page
    assert not [
        spelling for spelling in (SECRET, "open%20sesame", "open+sesame", "sesame 4711") if spelling in page
    ]


def test_traces_in_files_are_shown_in_one_page(tmp_path):
    write(tmp_path, failed_run(), "one.json")
    write(tmp_path, otlp(web=[span("GET /", 0, 10, number=1, trace=2)]), "other.json")
    done = here("show", "one.json", "other.json", "--html", "page.html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    data = block(tmp_path)
    assert [trace["id"] for trace in data["traces"]] == [f"{1:032x}", f"{2:032x}"]
    assert names_of(data["traces"][0], data)[:2] == ["flow-orders", "http-quick"]
    assert names_of(data["traces"][1], data) == ["GET /"]


def test_a_service_is_named_where_the_trace_comes_to_it(tmp_path):
    services = otlp(
        web=[span("GET /", 0, 10, number=1), span("call", 1, 9, number=2, parent=1)],
        shop=[span("find", 2, 8, number=3, parent=2)],
    )
    here("show", write(tmp_path, services), "--html", "page.html", cwd=tmp_path)
    data = block(tmp_path)
    assert names_of(data["traces"][0], data) == ["GET / (web)", "call", "find (shop)"]


@pytest.mark.parametrize("command", ["run", "show"])
def test_a_page_that_cannot_be_written_is_told_before_anything_is_done(tmp_path, command):
    flow_file(tmp_path, get("a"), name="flow.json")
    write(tmp_path, failed_run())
    file = {"run": "flow.json", "show": "trace.json"}[command]
    done = here(command, file, "--html", "missing/page.html", cwd=tmp_path)
    assert done.returncode == 2
    assert "--html" in done.stderr
    assert "cannot write 'missing/page.html'" in done.stderr
