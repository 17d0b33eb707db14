#!/usr/bin/env bash
# Checks a flow as GASSAPI would, puts it there, changes its name, and runs what it fetches from there.
#
#   examples/gassapi/push.sh               on the bundled one, which is started beside it
#   GASSAPI_TOKEN=… GASSAPI_URL=https://…/gassapi2/backend PROJECT=… API_URL=… examples/gassapi/push.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${API_URL:-}" ]; then
    exec python examples/loopback.py gassapi examples/gassapi/push.sh "$@"
fi
export GASSAPI_TOKEN=${GASSAPI_TOKEN:-quiet-lantern} GASSAPI_URL=${GASSAPI_URL:-$API_URL/gassapi2/backend}
fetched=$(mktemp)
trap 'rm -f "$fetched"' EXIT

runner check examples/gassapi/flow.json --as gassapi
flow=$(runner push examples/gassapi/flow.json --to gassapi \
    --project "${PROJECT:-proj_1761375000_0a1b2c3d}" | cut -d: -f1)
runner push examples/gassapi/flow.json --to gassapi --id "$flow" --name "Sign up again" --only name
runner pull --from gassapi --id "$flow" -o "$fetched"
runner run "$fetched" -i who=ada -e API_URL "$@"
