#!/usr/bin/env bash
# Runs a flow and puts its trace on a platform, in one command.
#
#   examples/upload/push.sh               on the bundled one, which is started beside it
#   VERSORI_TOKEN=… PLATFORM_URL=https://platform.versori.com/api/v2 ORG=… PROJECT=… API_URL=… examples/upload/push.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${API_URL:-}" ]; then
    exec python examples/loopback.py upload examples/upload/push.sh "$@"
fi
export VERSORI_TOKEN=${VERSORI_TOKEN:-quiet-lantern}

exec runner run examples/upload/flow.json -e API_URL \
    --push versori --push-url "${PLATFORM_URL:-$API_URL/api/v2}" \
    --org "${ORG:-01J9ZK6V4Q8N3T5W7Y2B4D6F8H}" --project "${PROJECT:-01J9ZK7AAAAAAAAAAAAAAAAAAA}" "$@"
