"""Makes httpx2 impossible to import: `python -m pytest -p tests.only_httpx tests/runtime` tests over httpx."""

import sys

sys.modules["httpx2"] = None
