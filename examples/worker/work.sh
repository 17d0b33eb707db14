#!/usr/bin/env bash
# Puts orders into a queue, works them off, and looks at what came of them: in one command, with a database of its own.
#
#   examples/worker/work.sh                                      its own API and a SQLite file, both gone afterwards
#   API_URL=… RUNNER_STATE=postgresql://… RUNNER_STATE_KEY=… examples/worker/work.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${API_URL:-}" ]; then
    exec python examples/loopback.py worker examples/worker/work.sh "$@"
fi
folder=$(mktemp -d)
export RUNNER_STATE=${RUNNER_STATE:-sqlite:///$folder/state.db}
trap 'rm -rf "$folder"' EXIT

for item in tea rice; do
    runner submit examples/worker/flow.json --id "order-$item" -i "item=$item" -e API_URL
done

runner worker --concurrency 10 --rate '*=50/s' --quiet &
worker=$!
trap 'kill "$worker" 2>/dev/null || true; wait "$worker" || true; rm -rf "$folder"' EXIT

runner submit examples/worker/flow.json --id order-salt -i item=salt -e API_URL --priority 10 --wait
# The same id is taken once, which this says, and waits for the run that is there.
runner submit examples/worker/flow.json --id order-tea -i item=tea -e API_URL --wait --quiet

kill -TERM "$worker" && wait "$worker" # it ends what it has begun
trap 'rm -rf "$folder"' EXIT
runner runs "$@"
