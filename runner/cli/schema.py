"""`runner schema`: the JSON Schema of flow documents."""

from __future__ import annotations

import json
from collections.abc import Mapping

from runner.cli.options import Options
from runner.cli.output import outputs
from runner.core.schema import flow_schema


def main(options: Options, environ: Mapping[str, str]) -> int:  # noqa: ARG001 - every command is called alike
    """Print the schema."""
    out, err = outputs(environ)
    out.write(json.dumps(flow_schema(), indent=2) + "\n")
    if out.trouble:
        err.line(f"cannot write standard output: {out.trouble}")
        return 3
    return 0
