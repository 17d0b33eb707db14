#!/usr/bin/env bash
# A flow as a step of a pipeline whose trace ends up on a platform, also when the flow has failed.
#
#   API_URL=… examples/upload/pipeline.sh --org … --project …     with VERSORI_TOKEN in the environment
#   examples/upload/pipeline.sh                                   against the example's own server
#
# In GitHub Actions:
#
#   - run: pip install .
#   - run: examples/upload/pipeline.sh --org 01J… --project 01J…
#     env: {API_URL: "https://staging.example.com", VERSORI_TOKEN: "${{ secrets.VERSORI_TOKEN }}"}
set -uo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${API_URL:-}" ]; then
    exec python examples/loopback.py upload bash -c 'VERSORI_TOKEN=quiet-lantern exec examples/upload/pipeline.sh \
        --base-url "$API_URL/api/v2" --org 01J9ZK6V4Q8N3T5W7Y2B4D6F8H --project 01J9ZK7AAAAAAAAAAAAAAAAAAA'
fi
trace=${TRACE:-.demo/upload.json}
mkdir -p .demo
rm -f "$trace"

runner check examples/upload/flow.json || exit

runner run examples/upload/flow.json -e API_URL --trace-out "$trace" --junit "${trace%.json}.xml" --quiet
code=$?
if [ -f "$trace" ]; then
    runner push "$trace" --to versori "$@" || code=$(( code == 0 ? 3 : code ))
fi
exit $code
