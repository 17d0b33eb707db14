"""Runs a flow from Python: python examples/loopback.py register_user python examples/library_use.py"""

import os
import sys

import runner

flow = runner.load("examples/register_user/flow.json")
for problem in runner.check(flow):
    print(problem, file=sys.stderr)

inputs = {"username": "ada", "email": "ada@example.com", "password": "correct horse battery"}
result = runner.run_sync(flow, inputs, env={"API_URL": os.environ["API_URL"]})

for step in result.steps:
    print(f"{step.id:<14}{step.status:<11}{dict(step.outputs)}")
print(f"{len(result.integration_flow().spans)} spans in trace {result.trace_id}")
result.raise_for_failure()
