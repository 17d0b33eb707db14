"""Every block of code in the README is run, in the order of the page and from a folder like the project's."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import runner
from examples import loopback
from runner.cli.app import AROUND, BUG, CUT, WRONG
from runner.cli.options import EXIT_CODES, parse
from runner.cli.run import EXITS
from runner.core import codes
from runner.core.document import MAX_BYTES, MAX_DEPTH
from runner.core.progress import DEFAULT_STEP_BUDGET
from runner.core.text import MAX_TEXT
from runner.runtime.engine import MAX_FILE
from runner.runtime.http import HttpSettings
from tests.command import here
from tests.emulators import davinci, gassapi, nected
from tests.emulators.versori import ORG, Versori
from tests.graphs import GRAPH
from tests.otlp_receiver import otlp_receiver

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "examples/README.md", "examples/deploy/README.md")
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
HOUSE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
BESIDE = "python examples/loopback.py register_user "


@dataclass(frozen=True)
class Block:
    """A block of code: its language, its text, the line of the page that it starts on."""

    language: str
    text: str
    line: int

    def __str__(self):
        return f"line-{self.line}-{self.language}"


def blocks(*languages: str) -> list[Block]:
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    every = [Block(match[1], match[2], PAGE[: match.start()].count("\n") + 1) for match in found]
    return [block for block in every if block.language in languages]


def table(head: str) -> list[list[str]]:
    """Return the cells of the table whose head starts so."""
    text = re.search(rf"^\| {re.escape(head)}.*\n\|[ |-]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)[1]
    return [line.strip("| ").split(" | ") for line in text.splitlines()]


@pytest.fixture
def folder(tmp_path):
    """Make a folder with what a reader has at hand, and the files that the page tells them to write."""
    for name in ("examples", "otel-collector.yaml", "pyproject.toml", "Makefile"):
        (tmp_path / name).symlink_to(ROOT / name)
    for block in blocks("yaml", "json"):
        name = re.match(r"# (\S+\.(?:yaml|json))\n", block.text)
        if name:
            (tmp_path / name[1]).write_text(block.text, encoding="utf-8")
    return tmp_path


def shell(folder: Path, script: str, **env: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, **env},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def plain(text: str) -> str:
    """Leave out of an output what is different each time: durations and what took longest, bars, ids."""
    text = re.sub(r"[▏▎▍▌▋▊▉█━╸╺─░▒▓·]{2,}|[▏▎▍▌▋▊▉█▒░╸╺━]", "", text)
    text = re.sub(r"\b\d+(?:\.\d+)?\s?(?:ms|s)\b", "# ms", text)
    text = re.sub(r"mostly .*", "mostly #", text)
    text = re.sub(r"\b[0-9a-f]{32}\b|\b[0-9A-HJKMNP-TV-Z]{26}\b", "#", text)
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line)


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_a_command_prints_what_the_page_shows(folder, block):
    # The page shows what a terminal does; the progress that a pipe gets on stderr is left out.
    parts = re.split(r"^\$ (.+)\n", block.text, flags=re.MULTILINE)[1:]
    script = "".join(f"{command}\nlast=$?; printf '\\001'; (exit $last)\n" for command in parts[::2])
    printed = shell(folder, script).stdout.split("\001")
    assert [plain(one) for one in printed[:-1]] == [plain(one) for one in parts[1::2]]


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_a_piece_of_python_runs(folder, block):
    (folder / "piece.py").write_text(block.text, encoding="utf-8")
    done = shell(folder, f"{BESIDE} python piece.py")
    assert (done.returncode, done.stdout) == (0, "succeeded Hello grace, you are number 1001.\n")
    assert json.loads((folder / "trace.json").read_bytes())["name"] == "Hello"


@pytest.mark.parametrize("block", blocks("yaml", "json"), ids=str)
def test_a_flow_or_a_step_of_the_page_has_no_problem(block):
    value = yaml.safe_load(block.text)
    flow = value if "steps" in value else {"version": "1.0", "flow_inputs": [], "steps": [value]}
    assert runner.check(runner.load(flow)) == ()


def test_the_tree_of_the_page_is_that_of_the_first_flow(folder):
    shell(folder, f"{BESIDE} runner run hello.yaml -i who=ada -e API_URL --trace-out trace.json --quiet")
    spans = json.loads((folder / "trace.json").read_bytes())["spans"]
    below: dict[str, list[dict]] = {}
    for span in spans:
        below.setdefault((span.get("parentSpanContext") or {}).get("spanId", ""), []).append(span)

    def draw(parent: str, indent: str):
        children = below.get(parent, [])
        for number, span in enumerate(children, 1):
            last = number == len(children)
            yield f"{indent}{'└── ' if last else '├── '}{span['name']}"
            yield from draw(span["spanContext"]["spanId"], indent + ("    " if last else "│   "))

    root = spans[0]
    [block] = blocks("text")
    assert block.text.splitlines() == [root["name"], *draw(root["spanContext"]["spanId"], "")]


def test_one_variable_sends_the_trace_to_a_backend(folder):
    [line] = [line for block in blocks("sh") for line in block.text.splitlines() if "OTEL_EXPORTER" in line]
    with otlp_receiver() as receiver:
        command = line.replace("http://127.0.0.1:4318", receiver.url)
        done = shell(folder, f"{BESIDE} bash -c '{command}'")
    assert done.returncode == 0, done.stderr
    assert sorted(span.name for span in receiver.spans) == [
        "POST /auth/register",
        "flow-Hello",
        "http-join",
        "set-greet",
    ]


@contextmanager
def beside(example: str) -> Iterator[str]:
    """Start the API of an example, as the page does beside its commands; returns where it is."""
    with loopback.Server(loopback.find_api(example)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.url
        server.shutdown()


def carry_out(folder: Path, text: str, **env: str) -> list[str]:
    """Do what the lines of a script say, in this process; returns what the commands have printed."""
    said = []
    for written in text.splitlines():
        read = re.sub(r"\$\(cat (\w+)\)", lambda match: (folder / match[1]).read_text().strip(), written)
        line = re.sub(r"\$(\w+)", lambda match: env[match[1]], read)  # noqa: B023 - called at once
        taken = re.fullmatch(r"(\w+)=\$\((.*) \| cut -d: -f1\)", line)
        command, *words = shlex.split(taken[2] if taken else line.removeprefix("export "))
        if command == "cp":
            shutil.copy(*(folder / word for word in words))
            continue
        if command != "runner":
            env |= dict(word.split("=", 1) for word in [command, *words])
            continue
        done = here(*words, cwd=folder, **env)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        if taken:
            env[taken[1]] = done.stdout.partition(":")[0]
        else:
            said += [printed.strip() for printed in done.stdout.splitlines()]
    return said


def test_the_commands_for_versori_do_what_the_page_says(folder):
    [block] = [block for block in blocks("sh") if "versori" in block.text]
    with Versori() as platform, beside("register_user") as url:
        context = f"{{organisation_id: {ORG}, url_overwrite: {platform.api}}}"
        (folder / "config.yaml").write_text(f"active_context: a\ncontexts: {{a: {context}}}\n")
        said = carry_out(folder, block.text, API_URL=url, VERSORI_CONFIG="config.yaml")
    assert said[-5:] == [
        "Hello: created (4 spans)",
        "hello: created (4 spans)",
        "Hello  4 spans",
        "hello  4 spans  One more",
        "hello: deleted",
    ]
    names = [span["name"] for span in json.loads((folder / "back.json").read_bytes())["spans"]]
    assert names == ["webhook-Hello", "http-join", "POST", "fn-greet"]
    assert json.loads((folder / "versori-flow.json").read_bytes())["nodes"][0]["id"] == "Hello"


def test_the_commands_for_gassapi_do_what_the_page_says(folder):
    [block] = [block for block in blocks("sh") if "gassapi" in block.text]
    (folder / "token").write_text(f"{gassapi.TOKEN}\n")
    with gassapi.Documented() as platform, beside("gassapi") as url:
        text = block.text.replace("http://127.0.0.1:8080/gassapi2/backend", platform.api)
        said = carry_out(folder, text, API_URL=url)
    flow = json.loads((folder / "back.json").read_bytes())
    assert flow["name"] == "Sign up again"
    assert runner.check(runner.load(flow)) == ()
    assert said[:3] == [
        "examples/gassapi/flow.json: ok for gassapi",
        f"{flow['id']}  active  Sign up",
        f"{flow['id']}: unchanged (it is so already)",
    ]
    assert json.loads(said[-4]) == {"name": "Sign up again"}
    assert said[-3:] == [
        f"{flow['id']}: updated (name)",
        f"{flow['id']}: updated (inactive)",
        f"{flow['id']}: deleted",
    ]


def test_the_commands_for_nected_do_what_the_page_says(folder):
    [block] = [block for block in blocks("sh") if "NECTED_URL" in block.text]
    (folder / "token").write_text(f"{nected.KEY}\n")
    with nected.Nected() as platform, beside("nected") as url:
        said = carry_out(folder, block.text.replace("http://127.0.0.1:8080", platform.origin), API_URL=url)
    [row] = platform.workflows.values()
    assert said[-1] == f"{row['id']}: created (Approve an order, tested, published as v1)"
    assert json.loads((folder / "order.json").read_bytes())["checksum"] == row["checksum"]
    assert runner.check(runner.load(folder / "steps.json")) == ()


def test_the_commands_for_davinci_do_what_the_page_says(folder):
    [block] = [block for block in blocks("sh") if "DAVINCI_ENV_ID" in block.text]
    (folder / "token").write_text(f"{davinci.TOKEN}\n")
    with davinci.Davinci() as platform:
        flow = platform.add("Login", "a79d1931573009379f0691befa538d97", graphData=GRAPH, enabled=False)
        platform.add_variable(name="tries", context="company", dataType="number", mutable=True, value=3)
        said = carry_out(folder, block.text.replace("https://api.pingone.eu", platform.origin))
        [one, copy] = platform.flows.values()
    assert said[0] == f"{flow}  disabled  version 1  Login"
    assert json.loads(said[-7])["description"] == "Signs people in"
    assert said[-6] == f"{flow}: updated (version 1 -> 2, deployed version 2, enabled)"
    assert [line.split()[0] for line in said[-5:-3]] == ["1", "2"]
    assert said[-3] == f"{flow}: updated (version 1 is back as version 3)"
    assert said[-2:] == [
        f"{list(platform.flows)[1]}: created (Login - clone, a copy of {flow})",
        "variables: unchanged (they are so already)",
    ]
    assert (one["graphData"], copy["graphData"]) == (GRAPH, GRAPH)


def collector(**variables: str) -> tuple[str, list[str]]:
    """Return where the collector sends traces to with these variables, and through which exporters."""
    text = (ROOT / "otel-collector.yaml").read_text()
    for name, value in variables.items():
        text, count = re.subn(rf"\$\{{env:{name}:-[^}}]*\}}", value, text)
        assert count == 1, name
    config = yaml.safe_load(text)
    exporters = config["service"]["pipelines"]["traces/out"]["exporters"]
    return config["exporters"]["otlp_http/backend"]["endpoint"], exporters


def test_the_commands_that_set_up_the_project_fit_it(folder):
    """They are not run here: they install, or run these tests."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    checks = {
        r"make (\w+)": lambda name: shell(ROOT, f"make -n {name}").returncode == 0,
        r"python3 -m venv (\.venv)": lambda _: about["project"]["requires-python"] == ">=3.11",
        r"\.venv/bin/(pip) install \.": lambda _: "runner" in about["project"]["scripts"],
        r"\.venv/bin/python (\S+)": lambda path: (ROOT / path).is_file(),
        r"otelcol-contrib --config (\S+) &": lambda path: (
            "service" in yaml.safe_load((ROOT / path).read_text())
        ),
        r"runner (run theirs\.json .*)": lambda words: bool(parse(shlex.split(words)).allow_host),
        r"docker run .* -p 14318:4318 \S+ && (COLLECTOR_.*) otelcol-contrib --config otel-collector.yaml": (
            lambda words: (
                collector(**dict(word.split("=", 1) for word in shlex.split(words)))
                == ("http://127.0.0.1:14318", ["otlp_http/backend"])
            )
        ),
        r"OTEL_EXPORTER_OTLP_ENDPOINT=\S+ runner run (hello\.yaml) .*": lambda path: (
            folder / path
        ).is_file(),
    }
    for block in blocks("sh"):
        if any(name in block.text for name in ("versori", "gassapi", "davinci", "nected")):
            continue  # has a test of its own
        for line in block.text.splitlines():
            command = line.partition("  #")[0].strip()
            found = [
                (check, match) for form, check in checks.items() if (match := re.fullmatch(form, command))
            ]
            assert len(found) == 1, f"no check knows {command!r}"
            check, match = found[0]
            assert check(match[1]), command


def test_the_page_starts_with_the_two_commands():
    assert re.findall(r"^make \w+", blocks("sh")[0].text, re.MULTILINE) == ["make demo", "make test"]


def test_every_block_is_of_a_kind_that_is_tested():
    assert len(re.findall(r"^```\w", PAGE, re.MULTILINE)) == len(
        blocks("console", "python", "yaml", "json", "text", "sh")
    )


def test_every_option_of_the_page_exists(folder):
    commands = [re.match(r"`runner ((?:trace )?\w+)", cells[0])[1] for cells in table("command")]
    commands += [f"runs {action}" for action in ("list", "retry", "delete")]
    helps = [shell(folder, f"runner {command} --help", COLUMNS="200").stdout for command in commands]
    usage = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(helps))
    rest = PAGE.partition("## Not there yet")[0]
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(re.findall(r"`([^`\n]+)`", rest))))
    assert {option for option in named if not re.search(rf"(?<![\w-]){option}(?![\w-])", usage)} == set()


def test_every_command_of_the_page_exists(folder):
    for cells in table("command"):
        command = re.match(r"`runner ((?:trace )?\w+)", cells[0])[1]
        assert shell(folder, f"runner {command} --help").returncode == 0, command


def test_the_limits_of_the_page_are_those_of_the_code():
    told = {cells[0]: cells[1] for cells in table("limit")}
    megabyte = 1024 * 1024
    assert told == {
        "document": f"{MAX_BYTES // megabyte} MiB",
        "nesting of a document": f"{MAX_DEPTH} levels",
        "body of an answer, decompressed": f"{HttpSettings().max_response // megabyte} MiB",
        "a rendered text": f"{MAX_TEXT // megabyte} MiB",
        "a file that a flow sends": f"{MAX_FILE // megabyte} MiB",
        "steps, items and polls of a run": f"{DEFAULT_STEP_BUDGET:,} (or twice the steps)".replace(",", " "),
        "visits of a step": "1",
        "one attempt": "30 s",
        "the whole run": "none",
    }
    errors = {cells[-1].strip("`") for cells in table("limit")} - {"exit code 4"}
    assert errors <= codes.PROBLEMS.keys() | codes.STEP_ERRORS.keys()


def test_the_exit_codes_of_the_page_are_those_of_the_help():
    told = {int(cells[0]) for cells in table("exit code")}
    assert told == {int(code) for code in re.findall(r"^  ([0-9]+) ", EXIT_CODES, re.MULTILINE)}
    assert told == {WRONG, AROUND, CUT, BUG, *EXITS.values()}


def test_every_place_that_the_architecture_names_exists():
    named = re.findall(
        r"`((?:runner|core|runtime|platforms|report|cli|tests|examples)/[\w/]*(?:\.\w+)?)`", HOUSE
    )
    places = [(ROOT / name, ROOT / "runner" / name) for name in named]
    assert len(named) > 20
    assert [inside.name for outside, inside in places if not (outside.exists() or inside.exists())] == []


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"]]
    needed += [one for name in ("fast", "ingest", "js", "worker") for one in extras[name]]
    names = {re.match(r"[\w-]+", one)[0] for one in needed} - {"flowspan-runner"}
    told = re.findall(
        r"^\| ([\w-]+)(?: \(extra .*?\))? \| ", HOUSE.partition("## Dependencies")[2], re.MULTILINE
    )
    assert names == set(told) - {"package", "---"}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_to_one(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^):]+)\)", text)]
    assert [link for link in links if link and not (ROOT / page).parent.joinpath(link).exists()] == []


def test_the_page_can_be_read_in_one_sitting():
    assert len(PAGE.splitlines()) <= 560  # four platforms and a worker have a section each
