"""The process that measures: `python -m benchmarks.child MEASURE LIBRARY ARGUMENTS` prints JSON."""

import json
import sys
from importlib import import_module

from benchmarks.processes import pin


def main(measure: str, library: str, arguments: str) -> None:
    if library == "httpx":
        sys.modules["httpx2"] = None
    pin(0)
    module, _, function = measure.partition(".")
    found = getattr(import_module(f"benchmarks.{module}"), function)(**json.loads(arguments))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
