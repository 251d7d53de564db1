# Everything there is to do here. Each target first makes the machine ready (scripts/setup).
# ARGS are handed on: make test ARGS='-k planner'
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
ARGS ?=

.PHONY: help demo demo-cluster test test-cluster images check soak bench bench-saves bench-cluster format clean

help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Start Overworld with a real game server and stay until Ctrl-C (CI=true: prove it, then stop)
	@scripts/setup demo
	@exec $(BIN)/python scripts/demo.py $(ARGS)

demo-cluster: ## The demo on a real Kubernetes of two nodes on this machine (root; the first time builds it, 10 to 25 minutes)
	@scripts/setup-cluster
	@exec env PYTHONPATH=tests $(BIN)/python scripts/demo_cluster.py $(ARGS)

test: ## Run every test: unit, contract, integration (three at a time: they wait more than they work)
	@scripts/setup test
	@$(BIN)/pytest --numprocesses=3 --dist=loadfile --durations=15 $(ARGS)

check: ## Read the code without running it: format, lint, types, layers, lock file, shell scripts
	@scripts/setup check
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports
	scripts/uv lock --check --quiet
	@if command -v shellcheck >/dev/null; then set -x; \
		shellcheck scripts/setup scripts/setup-cluster scripts/install-packages scripts/install-restic \
			scripts/uv .ci/run deploy/images/push deploy/images/keeper/install-packages; \
		else echo 'shellcheck is not installed: shell scripts not read'; fi

test-cluster: ## Run the tests on a real Kubernetes of two nodes (root; the first time builds it, 10 to 25 minutes)
	@scripts/setup-cluster
	@OVERWORLD_TEST_CLUSTER=1 $(BIN)/pytest tests/cluster --durations=15 $(ARGS)

images: ## Build the container images of deploy/images on this machine, without a registry (root; ARGS='luanti': some)
	@scripts/setup images
	@PYTHONPATH=tests $(BIN)/python -m cluster.harness.image_builds $(ARGS)

soak: ## Run the integration tests with ten times the faults (long)
	@scripts/setup test
	@OVERWORLD_SOAK=1 $(BIN)/pytest tests/integration --timeout=7200 --durations=15 $(ARGS)

bench: ## Measure, print a table, write the figures into docs/performance.md
	@scripts/setup test
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

bench-saves: ## Measure saves of a large world against tar + gzip, and write that into docs/performance.md too
	@scripts/setup test
	@PYTHONPATH=tests $(BIN)/python -m bench --saves $(ARGS)

bench-cluster: ## Measure on a real Kubernetes with fake nodes, beside a bare program (root; half an hour)
	@scripts/setup-cluster
	@PYTHONPATH=tests $(BIN)/python -m bench --cluster $(ARGS)

format: ## Put the code into its form
	@scripts/setup check
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .
	$(BIN)/python scripts/document_settings.py

clean: ## Remove what was built here; never servers, worlds or data
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist \
		tests/players/node_modules
	find src tests scripts -type d -name __pycache__ -prune -exec rm -rf {} +
