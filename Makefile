# Every target makes .venv by itself. Another Python than `python3`: make test PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
LIVE := .venv/.live
ARGS ?=

# Runs the tests with a mark; pytest leaves with 5 when it has collected none.
define marked
$(BIN)/pytest -m $(1) --collect-only -q >/dev/null; case $$? in \
	5) echo "There is no $(1) test yet." ;; \
	*) $(BIN)/pytest -m $(1) $(2) $(ARGS) ;; esac
endef

.DEFAULT_GOAL := test
.PHONY: demo test check live bench soak lock clean

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not that. Name one: make PYTHON=python3.11" >&2; \
		exit 1; }
	@test -x $(BIN)/python || { echo "Making .venv (about a minute, once)"; $(PYTHON) -m venv .venv; }
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

$(LIVE): $(STAMP)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[live]" || \
		echo "Not everything of the extra 'live' installs here; the tests that need it are skipped."
	@touch $@

demo: $(STAMP)
	@$(BIN)/python examples/register_user/demo.py $(ARGS)

test: $(STAMP)
	@rm -rf .cov && mkdir .cov
	$(BIN)/coverage run -m pytest -n auto --maxprocesses 4 --result-line .cov/result $(ARGS)
	@$(BIN)/coverage combine --quiet; rm -f .cov/data.*  # a process that a test killed may leave half a file
	$(BIN)/coverage report --fail-under=95
	$(BIN)/coverage report --fail-under=100 --include='runner/core/*,runner/platforms/*'
	@cat .cov/result

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@if test -d tests/typing; then $(BIN)/mypy tests/typing; fi
	$(BIN)/lint-imports --no-logo

live: $(LIVE)
	@$(call marked,live,-rs --timeout 300)

bench: $(STAMP)
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP)
	@$(call marked,soak,--hypothesis-profile soak --timeout 1800)

# The lowest Python decides the versions, so that they install on all.
lock:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo "constraints.txt is made with Python 3.11: make lock PYTHON=python3.11" >&2; exit 1; }
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(PYTHON) -m venv "$$dir" && \
		"$$dir"/bin/pip install --quiet --disable-pip-version-check -e ".[live]" && \
		"$$dir"/bin/pip freeze --exclude-editable > "$$dir"/freeze && cp "$$dir"/freeze constraints.txt
	@echo "constraints.txt has $$(wc -l < constraints.txt | tr -d ' ') versions"

clean:
	rm -rf .venv .cov .demo .otel dist build .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find runner tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
