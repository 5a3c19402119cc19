# Every target sets itself up: the environment is made from uv.lock, uv itself is put into it where it is missing.
PYTHON ?= python3
UV := $(shell command -v uv || echo .venv/bin/uv)
RUN := .venv/bin
DEMO := $(CURDIR)/demo
export UV_PYTHON_DOWNLOADS := never

.PHONY: help demo test ui bench bench-scale lint clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/synced ## Import the example sessions and turn them into an audited dataset
	@$(RUN)/tracemill demo $(DEMO)

test: .venv/synced ## Run every test
	@$(RUN)/pytest -n auto

ui: .venv/synced ## Open the demo project in the Dagster UI
	@$(RUN)/tracemill demo $(DEMO) --no-run
	DAGSTER_HOME=$(DEMO)/.dagster TRACEMILL_PROJECT=$(DEMO) $(RUN)/dagster dev -w workspace.yaml

bench: .venv/synced ## Measure against the official path and the peers, as ratios
	@$(RUN)/python -m assets_tests.bench
	@$(RUN)/python -m assets_tests.bench_peers
	@$(RUN)/python -m assets_tests.bench_traced
	@$(RUN)/python -m assets_tests.bench_turns
	@$(RUN)/python -m assets_tests.bench_pipeline
	@$(RUN)/python -m assets_tests.bench_packing
	@$(RUN)/python -m assets_tests.bench_commands

bench-scale: .venv/synced ## Seed instances of 1,000 and 10,000 partitions on PostgreSQL, and time them
	@for many in 1000 10000; do $(RUN)/pytest -q -s --examples $$many assets_tests/deploy/test_scale.py; done

lint: .venv/synced ## What CI checks beside the tests
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/pyright
	$(RUN)/lint-imports
	$(RUN)/dagster definitions validate -w workspace.yaml

clean: ## Remove the environment and the demo project
	rm -rf .venv demo

.venv/synced: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tracemill needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@[ -x .venv/bin/python ] || $(PYTHON) -m venv .venv
	@command -v uv >/dev/null || .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
	@VIRTUAL_ENV= $(UV) sync --frozen --inexact --quiet --compile-bytecode --python .venv/bin/python
	@touch $@
