"""What `make demo` runs: the registration flow against an API that is started here.

The API answers 503 once, so that the trace shows a retry. Everything that is made goes into .demo/.
More arguments are handed on: make demo ARGS="-i sendWelcomeEmail=false"
"""

import os
import sys
from pathlib import Path
from subprocess import run

HERE = Path(__file__).parent
MADE = HERE.parents[1] / ".demo"


def near(path):
    """Write a path as it is reached from here."""
    return os.path.relpath(path)


def main():
    bin_folder = Path(sys.executable).parent
    python = near(sys.executable)
    runner = [near(bin_folder / "runner")] if (bin_folder / "runner").exists() else [python, "-m", "runner"]
    serve = [python, near(HERE.parent / "loopback.py")]
    flow, inputs = near(HERE / "flow.json"), near(HERE / "inputs.json")
    MADE.mkdir(exist_ok=True)
    trace = near(MADE / "trace.json")

    code = run(
        [
            *serve, "--busy", "/auth/verify-email", "--pause", "0.15", "register_user",
            *runner, "run", flow, "--inputs", inputs, "-e", "API_URL", "--trace-out", trace, *sys.argv[1:],
        ],
        check=False,
    ).returncode  # fmt: skip

    command, beside = " ".join(runner), " ".join(serve)
    print(f"\nThe trace of a run is a file: {trace}. Try next:\n")
    print(f"  {command} check {flow}")
    print(f"  {command} schema > {near(MADE / 'schema.json')}")
    print(f"  {beside} orders_parallel \\")
    print(
        f"    {command} run {near(HERE.parent / 'orders_parallel' / 'flow.json')} -i customer=c-7 -e API_URL"
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
