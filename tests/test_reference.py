import re
from dataclasses import fields
from pathlib import Path

from runner.core import codes, names
from runner.core.inputs import RULES
from runner.core.model import Step
from runner.platforms.steps import DATA_KEYS, RECORD_KEYS, wire_names
from runner.report import reference

PAGE = Path(__file__).parents[1] / "examples/REFERENCE.md"


def section(title: str) -> dict[str, str]:
    """Return the first cell of each row below a heading, to the rest of the row."""
    text = re.search(
        rf"^###? {re.escape(title)}\n(.*?)(?=^##|\Z)", reference.reference(), re.DOTALL | re.MULTILINE
    )[1]
    rows = [line.removeprefix("| ").split(" | ", 1) for line in text.splitlines() if line.startswith("| `")]
    return {cell.strip("`"): rest for cell, rest in rows}


def test_the_page_is_what_the_code_says():
    remedy = "run: python -m runner.report.reference > examples/REFERENCE.md"
    assert PAGE.read_text(encoding="utf-8") == reference.reference(), remedy


def test_every_key_that_the_reader_knows_is_on_the_page():
    assert section("flow record").keys() == RECORD_KEYS
    assert section("flow_data").keys() == DATA_KEYS
    for kind, title, _ in reference.KINDS:
        if title != "input":
            assert list(section(title)) == list(wire_names(kind)), title
    assert list(section("Rules of an input")) == list(RULES)


def test_every_key_says_what_it_does():
    for kind, title, _ in reference.KINDS:
        for row in reference.key_rows(kind):
            assert all(row[index] for index in (0, 1, 3)), (title, row)


def test_a_key_tells_its_type_its_bounds_and_its_default():
    config = section("config")
    assert config["retryCount"].startswith("whole number, 0 to 10 | `0` | Extra attempts")
    assert config["flowTimeout"].startswith("whole number, 1 to 2592000000 | none | Milliseconds")
    assert section("step")["timeout"].endswith("| `config.timeout` | Milliseconds for one attempt in all. |")
    assert section("edge")["from"].startswith("text | required |")
    assert section("step")["multipart"].startswith("object of text or [file](#file) |")
    assert len(section("step")) == len(fields(Step))


def test_every_code_and_every_name_is_on_the_page():
    for title, known in (
        ("Problems", codes.PROBLEMS),
        ("Step errors", codes.STEP_ERRORS),
        ("Span names", names.SPAN_NAMES),
        ("Span attributes", names.ATTRIBUTES),
        ("Span events", names.EVENTS),
    ):
        assert list(section(title)) == list(known)


def test_a_cell_keeps_its_bars_and_angle_brackets():
    assert reference.table(("a",), [("x | `y|<z>` <w>",)]).splitlines()[2] == r"| x \| `y\|<z>` \<w> |"


def test_every_link_leads_to_a_heading():
    text = reference.reference()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_ -]", "", one.lower()).replace(" ", "-") for one in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
