"""Every code in the source is in the list, and every code in the list is in the source."""

import re
from pathlib import Path

from runner.core import names
from runner.core.codes import PROBLEMS, STEP_ERRORS

RUNNER = Path(__file__).parents[2] / "runner"
CODE = re.compile(r"\"((?:[a-z]+|forEach)\.[a-z_0-9]+)\"")
FAMILIES = {code.partition(".")[0] for code in (*PROBLEMS, *STEP_ERRORS)}
MADE = {"run.cancelled", "run.timed_out"}  # put together from what interrupted the run


def used():
    found = set()
    for path in RUNNER.rglob("*.py"):
        if path.name not in ("codes.py", "names.py"):
            found |= set(CODE.findall(path.read_text(encoding="utf-8")))
    return {code for code in found if code.partition(".")[0] in FAMILIES}


def test_every_code_that_is_used_is_listed():
    listed = {*PROBLEMS, *STEP_ERRORS, *names.ATTRIBUTES, *names.EVENTS}
    assert used() - listed == set()


def test_every_code_that_is_listed_is_used():
    rules = {code for code in PROBLEMS if code.startswith(("input.", "trace."))}  # made from parts
    assert {*PROBLEMS, *STEP_ERRORS} - rules - MADE - {"internal"} - used() == set()


def test_every_code_has_one_sentence():
    for code, sentence in (*PROBLEMS.items(), *STEP_ERRORS.items()):
        assert sentence.endswith("."), code
        assert sentence[0].isupper() or sentence.startswith(("item", "forEach", "dependsOn", "response")), (
            code
        )
