"""The files that are made of traces: checked before anything is sent, and each made whatever becomes of the others."""

import json
import os
import signal
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from runner.cli.artefacts import FILES, Artefact, flaws, make_all
from runner.core.integration_flow import IntegrationFlow
from runner.core.trace_document import read_traces
from runner.errors import SurroundingsError
from tests.command import flow_file, get, here, needs_full_device, start
from tests.junit_shape import check_shape
from tests.servers import Reply

EVERY = [word for flag in FILES for word in (flag, f"{flag[2:]}.out")]


def run(flow, api, *words, **options):
    return here("run", flow.name, "-e", f"API={api.origin}", *words, cwd=flow.parent, **options)


def written(folder):
    """Return the spans of the IntegrationFlow and of the OTLP/JSON, and the JUnit report."""
    [flow] = read_traces((folder / "trace-out.out").read_bytes(), "flow")
    [other] = read_traces((folder / "otlp-json.out").read_bytes(), "otlp")
    report = ET.parse(folder / "junit.out").getroot()
    check_shape(report)
    return flow, other, report


def same(one, other):
    return IntegrationFlow("", "", one.records).to_json() == IntegrationFlow("", "", other.records).to_json()


def made(line):
    return lambda source: line


def broken(line):
    def fail(source):
        raise SurroundingsError(line)

    return fail


def told(artefacts, read=()):
    return [(problem.code, problem.where, problem.what) for problem in flaws(artefacts, read)]


def test_one_that_cannot_be_made_keeps_no_other_from_it():
    every = [
        Artefact("--a", made("a is in a")),
        Artefact("--b", broken("no space")),
        Artefact("--c", made("c is in c")),
        Artefact("--d", broken("no folder")),
    ]
    done = make_all(every, source=None)
    assert done.told == ["a is in a", "c is in c"]
    assert done.troubles == ["no space", "no folder"]


def test_two_flags_may_not_name_one_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.xml").symlink_to("a.xml")
    every = [Artefact("--a", made(""), name) for name in ("a.xml", "./a.xml")]
    assert told(every) == [], "the same flag"
    every += [
        Artefact("--b", made(""), name) for name in ("b.xml", "../" + tmp_path.name + "/a.xml", "link.xml")
    ]
    assert told(every) == [
        ("usage.artefact", "--b", f"'../{tmp_path.name}/a.xml' is the file of --a already; name another one"),
        ("usage.artefact", "--b", "'link.xml' is the file of --a already; name another one"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["link.xml"], "nothing is left of the trial"


def test_what_is_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("trace.json").write_text("{}")
    assert told([Artefact("--a", made(""), "./trace.json")], ["-", "trace.json"]) == [
        ("usage.artefact", "--a", "'./trace.json' is the file that is read; name another one")
    ]
    assert Path("trace.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("-", "'-' is no file; for standard output name /dev/stdout"),
        (".", "'.' is a folder"),
        ("no/t.json", "cannot write 'no/t.json': no such file or directory"),
        ("a\0b", "cannot write 'a\\x00b': it is no usable path"),
    ],
)
def test_what_cannot_be_written_is_told_before(tmp_path, monkeypatch, path, reason):
    monkeypatch.chdir(tmp_path)
    assert told([Artefact("--a", made(""), path)]) == [("usage.artefact", "--a", reason)]


def test_what_is_no_file_has_no_flaw_and_a_pipe_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert told([Artefact("--push", made("")), Artefact("--a", made(""), str(tmp_path / "pipe"))]) == []


def test_open_streams_are_no_files_to_try_out_or_to_replace(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        every = [Artefact(flag, made(""), f"/dev/fd/{log.fileno()}") for flag in ("--a", "--b")]
        assert told(every) == []
    [(code, flag, what)] = told([Artefact("--a", made(""), "/dev/fd/9999999")])
    assert (code, flag) == ("usage.artefact", "--a")
    assert what.startswith("cannot write '/dev/fd/9999999': ")


def test_a_run_writes_every_file_that_is_asked_for_and_tells_where(tmp_path, api):
    api.on("/bad", Reply(500))
    flow = flow_file(tmp_path, get("a"), get("bad"), get("never"))
    done = run(flow, api, *EVERY)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-len(FILES) :] == [
        f"  {what} is in {flag[2:]}.out" for flag, (what, _) in FILES.items()
    ]
    trace, otlp, report = written(tmp_path)
    assert same(trace, otlp)
    assert [record.name for record in trace.records][:2] == ["flow-flow", "http-a"]
    [suite] = report
    assert (suite.get("name"), suite.get("tests")) == ("flow", "3")
    failure = suite.find(".//failure")
    assert failure.attrib == {"message": "the server answered 500, expected 2xx", "type": "http.status"}
    assert failure.text.splitlines()[1:] == ["at flow.json:12:4 steps[1]", f"GET {api.origin}/bad: 500"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["flow.json", *EVERY[1::2]])


def test_the_name_that_is_given_stands_in_every_file(tmp_path, api):
    flow = flow_file(tmp_path, get("a"))
    assert run(flow, api, "--junit", "junit.out", "--name", "Nightly <1>").returncode == 0
    assert ET.parse(tmp_path / "junit.out").find("testsuite").get("name") == "Nightly <1>"


def test_a_failure_in_a_sub_flow_is_told_with_its_own_file(tmp_path, api):
    api.on("/bad", Reply(500))
    flow_file(tmp_path, get("bad"), name="inner.json")
    flow = flow_file(tmp_path, {"id": "sub", "flow": "inner.json"})
    assert run(flow, api, "--junit", "junit.out").returncode == 1
    failure = ET.parse(tmp_path / "junit.out").find(".//failure")
    assert failure.text.splitlines()[1].startswith("at inner.json:")


def test_what_the_flow_handled_gives_a_report_without_failures(tmp_path, api):
    api.on("/bad", Reply(500))
    loop = get("loop", forEach=[1, 2], onError="continue")
    loop["url"] = "{{env.API}}/bad"
    flow_file(tmp_path, get("bad"), name="inner.json")
    flow = flow_file(
        tmp_path,
        loop,
        get("bad", onError="continue"),
        {"id": "sub", "flow": "inner.json", "onError": "continue"},
    )
    assert run(flow, api, *EVERY).returncode == 0
    _, _, report = written(tmp_path)
    assert (report.get("tests"), report.get("failures"), report.get("errors")) == ("4", "0", "0")
    assert len(report.findall(".//system-out")) == 4


@pytest.mark.parametrize("by", ["signal", "timeout"])
def test_a_run_that_was_cut_off_leaves_every_file(tmp_path, api, by):
    gate = api.hold("/slow")
    flow = flow_file(tmp_path, get("a"), get("slow"), get("never"))
    words = ("--timeout", "1") if by == "timeout" else ()
    process = start("run", flow.name, "-e", f"API={api.origin}", *EVERY, *words, cwd=tmp_path)
    gate.wait_for(1)
    if by == "signal":
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=25)
    assert process.returncode == 4
    assert "  the JUnit report is in junit.out" in out.splitlines()
    trace, otlp, report = written(tmp_path)
    assert same(trace, otlp)
    cases = {case.get("name"): [child.tag for child in case] for case in report.iter("testcase")}
    assert cases == {"a": [], "slow": ["error"], "never": ["skipped"]}


@needs_full_device
@pytest.mark.parametrize(("status", "code"), [(200, 3), (500, 1)])
@pytest.mark.parametrize("flag", FILES)
def test_a_file_that_could_not_be_written_is_exit_3_unless_the_flow_failed(tmp_path, api, flag, status, code):
    api.on("/a", Reply(status))
    flow = flow_file(tmp_path, get("a"))
    done = run(flow, api, *EVERY, flag, "/dev/full", "--quiet")
    assert done.returncode == code
    assert done.stderr == "cannot write '/dev/full': no space left on device\n"
    others = {f"{other[2:]}.out" for other in FILES if other != flag}
    assert {path.name for path in tmp_path.iterdir()} == {"flow.json", *others}


def test_json_stays_alone_on_stdout(tmp_path, api):
    done = run(flow_file(tmp_path, get("a")), api, *EVERY, "--json")
    assert json.loads(done.stdout)["status"] == "succeeded"
    assert "  the JUnit report is in junit.out" in done.stderr.splitlines()


def test_the_same_files_can_be_made_of_a_file(tmp_path, api):
    flow = flow_file(tmp_path, get("a"), get("b"))
    assert run(flow, api, "--trace-out", "t.json").returncode == 0
    assert here("show", "t.json", *EVERY, "--quiet", cwd=tmp_path).stdout == ""
    assert (tmp_path / "trace-out.out").read_bytes() == (tmp_path / "t.json").read_bytes()
    trace, otlp, report = written(tmp_path)
    assert same(trace, otlp)
    assert report.get("tests") == "2"
    assert here("show", "otlp-json.out", "--trace-out", "back.json", cwd=tmp_path).returncode == 0
    back = json.loads((tmp_path / "back.json").read_bytes())
    assert back["spans"] == json.loads((tmp_path / "t.json").read_bytes())["spans"]


def test_otlp_json_has_the_service_that_the_environment_names(tmp_path):
    flow = flow_file(tmp_path, {"id": "s", "set": {"x": 1}})
    words = ("run", flow.name, "-q", "--otlp-json", "t.json")
    env = {"OTEL_SERVICE_NAME": "nightly", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
    assert here(*words, cwd=tmp_path, **env).returncode == 0
    [part] = json.loads((tmp_path / "t.json").read_bytes())["resourceSpans"]
    told = {one["key"]: one["value"]["stringValue"] for one in part["resource"]["attributes"]}
    assert (told["service.name"], told["deployment.environment.name"]) == ("nightly", "test")


def test_a_large_trace_is_one_document_of_otlp_json(tmp_path):
    flow = flow_file(tmp_path, {"id": "s", "forEach": list(range(6_000)), "set": {"x": "{{item}}"}})
    assert here("run", flow.name, "-q", "--otlp-json", "big.json", cwd=tmp_path).returncode == 0
    document = json.loads((tmp_path / "big.json").read_bytes())
    sizes = [len(scope["spans"]) for part in document["resourceSpans"] for scope in part["scopeSpans"]]
    assert sum(sizes) == 6_002
    assert len(sizes) == 2
    assert len(read_traces((tmp_path / "big.json").read_bytes(), "big")[0].records) == 6_002


def test_no_secret_is_in_any_file_or_on_any_screen(tmp_path, api):
    secret = "p<\"s&ecr'et 7"
    api.on("/fail", Reply(500, {"echo": secret}, [("X-Request-Id", secret)]))
    flow = flow_file(
        tmp_path,
        get("fail", url="{{env.API}}/fail?p={{input.p}}", **{"assert": "response.body.echo === '{{input.p}} no'"},
            expectedStatus=500, outputs={"e": "response.body.echo"}),
        flow_inputs=[{"name": "p", "type": "password"}],
    )  # fmt: skip
    done = run(flow, api, *EVERY, "-i", f"p={secret}", "--capture-bodies", "--name", f"for {secret}")
    assert done.returncode == 1
    shown = [done.stdout, done.stderr]
    for file in ("trace-out.out", "otlp-json.out"):
        shown += [here("show", file, *words, cwd=tmp_path).stdout for words in ((), ("--json",))]
    shown += [(tmp_path / name).read_text(encoding="utf-8") for name in EVERY[1::2]]
    assert all("[masked]" in text for text in shown if text != done.stderr)
    for spelling in (
        secret,
        "ecr&apos;et",
        "ecr'et",
        "ecr%27et",
        "ecr&#x27;et",
        "ecr\\u0027et",
        "ecr&#39;et",
    ):
        assert not any(spelling in text for text in shown), spelling
