# The front door of the project: `make` lists the targets; each does its own set-up.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-newest check bench soak lock build clean

# The first Python 3.11 that answers when run (a version manager's shim can exist and fail).
# Recursive on purpose: looked for only when an environment has to be made.
PYTHON ?= $(shell for candidate in python3.11 python3 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.11.*/bin/python3; do \
	"$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' \
	2>/dev/null && echo "$$candidate" && break; done)
BIN := .venv/bin
LOCK := requirements/dev.txt
STAMP := .venv/.installed
# Set by `test`: the newest other Python. Its path is in the stamp's name, so another one re-makes.
NEWEST_PYTHON ?=
NEWEST_STAMP := .venv-newest/.installed$(subst /,-,$(NEWEST_PYTHON))
MAX_LINES := 500
ARGS ?=

# Make the environment $(1) with the interpreter $(2): the hashed lock, then the project itself.
# --clear: what an older lock installed, or an interrupted install left, must not stay.
define make_environment
	@echo "Setting up $(1) with $(2)"
	@"$(2)" -m venv --clear $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check \
		--require-hashes --requirement $(LOCK)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	@touch $@
endef

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## Run the main example from start to end
	$(BIN)/python examples/flights/demo.py $(ARGS)

test: $(STAMP) ## Run all tests on Python 3.11, unit and contract tests on the newest Python as well
	$(BIN)/python -m pytest -q $(ARGS)
	@newest="$$($(BIN)/python scripts/newest_python.py)"; \
	if [ -n "$$newest" ]; then \
		$(MAKE) --no-print-directory test-newest NEWEST_PYTHON="$$newest"; \
	fi

test-newest: $(NEWEST_STAMP)
	.venv-newest/bin/python -m pytest -q $(ARGS) $(wildcard tests/unit tests/contract)

check: $(STAMP) ## Check format, lint, types, layers and file lengths
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@find src -name '*.py' -exec awk -v max=$(MAX_LINES) \
		'FNR == max + 1 { print FILENAME ": longer than " max " lines, split it"; bad = 1 } \
		END { exit bad }' {} +

bench: $(STAMP) ## Run the benchmarks
	$(BIN)/python -m bench $(ARGS)

soak: $(STAMP) ## Kill a job every few seconds for 2 minutes, and count what is lost (ARGS="--minutes 10")
	$(BIN)/python -m scripts.soak $(ARGS)

lock: $(STAMP) ## Write the lock anew; ARGS=--upgrade takes the newest versions
	@cp $(LOCK) $(LOCK).new
	$(BIN)/uv pip compile pyproject.toml --group dev --all-extras --quiet \
		--universal --python-version 3.11 --python $(BIN)/python \
		--generate-hashes --no-emit-index-url --no-header \
		--output-file $(LOCK).new $(ARGS)
	@{ echo '# Every dependency, pinned and hashed. Written by `make lock`.'; cat $(LOCK).new; } \
		> $(LOCK).head
	@rm $(LOCK).new
	@# Left alone when nothing changed, or the environments would be made again.
	@if cmp -s $(LOCK).head $(LOCK); then rm $(LOCK).head; else mv $(LOCK).head $(LOCK); fi

build: $(STAMP) ## Build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation

clean: ## Remove environments, caches and built files
	rm -rf .venv .venv-newest dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml $(LOCK)
	@test -n "$(PYTHON)" || { \
		echo "No Python 3.11 (with venv) answers as python3.11 or python3." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(call make_environment,.venv,$(PYTHON))

$(NEWEST_STAMP): pyproject.toml $(LOCK)
	$(call make_environment,.venv-newest,$(NEWEST_PYTHON))
