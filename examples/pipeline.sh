#!/usr/bin/env bash
# A flow as a step of a pipeline: check everything, then run one flow, and tell apart why it did not pass.
#
#   examples/pipeline.sh https://staging.example.com     against an API that is there
#   examples/pipeline.sh                                 against the example's own
#
# In GitHub Actions:
#
#   - run: pip install .
#   - run: examples/pipeline.sh https://staging.example.com
#   - uses: actions/upload-artifact@v4
#     if: always()
#     with: {name: traces, path: .demo/}
#
# In GitLab CI, `artifacts: {when: always, reports: {junit: .demo/pipeline.xml}}` shows each step as a test.
set -uo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
    exec python examples/loopback.py register_user bash -c 'exec examples/pipeline.sh "$API_URL"'
fi
export API_URL=$1
mkdir -p .demo

runner check examples/*/flow.json examples/*/flow.yaml || exit

runner run examples/register_user/flow.json --inputs examples/register_user/inputs.json \
    -e API_URL --trace-out .demo/pipeline.json --junit .demo/pipeline.xml --quiet
code=$?
case $code in
    0) echo "passed" ;;
    1) echo "the flow failed; 'runner show .demo/pipeline.json' shows where" ;;
    2) echo "the flow or what it was given is wrong; nothing was sent" ;;
    3) echo "something around the run failed, such as writing a file" ;;
    4) echo "timed out or cancelled" ;;
esac
exit $code
