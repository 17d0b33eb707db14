#!/usr/bin/env bash
# Checks a workflow and runs it, by its bindings and as it was tested last; puts it on Nected, tests and publishes it.
#
#   examples/nected/push.sh                on the bundled one, which is started beside it
#   NECTED_API_KEY=… NECTED_URL=https://api.nected.ai API_URL=… examples/nected/push.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${API_URL:-}" ]; then
    exec python examples/loopback.py nected examples/nected/push.sh "$@"
fi
export NECTED_API_KEY=${NECTED_API_KEY:-quiet-lantern} NECTED_URL=${NECTED_URL:-$API_URL}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp examples/nected/workflow.json "$folder"

runner check "$folder/workflow.json" --bindings examples/nected/bindings.yaml
runner run "$folder/workflow.json" --bindings examples/nected/bindings.yaml -i orderId=o-7 -i total=250 -e API_URL "$@"
runner run "$folder/workflow.json" --recorded "$@"
runner push "$folder/workflow.json" --to nected
runner push "$folder/workflow.json" --to nected --name "Approve orders" --test --publish --title v1.0
