"""Checks a decoded IntegrationFlow against tests/schemas/integration_flow.json, times included."""

import json
import re
from datetime import datetime
from pathlib import Path

from jsonschema import Draft202012Validator, FormatChecker

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")

formats = FormatChecker(formats=())


@formats.checks("date-time", raises=ValueError)
def is_date_time(value):
    if not isinstance(value, str):
        return True
    datetime.fromisoformat(re.sub(r"\.\d+", "", value))
    return RFC_3339.fullmatch(value) is not None


SCHEMA = json.loads((Path(__file__).parent / "schemas/integration_flow.json").read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=formats)


def violations(document):
    """Return what is wrong, as `path: message` lines."""
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(document)]
