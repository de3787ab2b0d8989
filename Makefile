# Two commands do everything on a machine with Python 3.11, git and make: make demo, make test.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-once-more check mutants chaos simulate rules monitoring dashboards viewer look pictures screenshots env bench clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed" >&2; exit 2; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY) ## Replay the published record on the embedded broker, then stream a live day
	@$(BIN)/hoso demo

# Most of the time goes into waiting for brokers to notice what died: more processes than cores.
JOBS ?= 4
SUITE := $(BIN)/python -m tests.suite

test: $(READY) ## Run every test; what failed is said again at the end
	$(SUITE) --numprocesses $(JOBS) --dist loadgroup

test-once-more: $(READY) # What failed has a second chance, alone
	$(SUITE) --once-more --minutes 33 --numprocesses $(JOBS) --dist loadgroup

check: $(READY) ## Lint, formatting, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

mutants: $(READY) ## Put faults into the code one at a time; the fast tests must notice each
	$(BIN)/python -m tests.mutants

dashboards: $(READY) ## Write grafana/dashboards from their source
	$(BIN)/python -m grafana.src

LOOK := tests/grafana/look
DRAWN ?= --width 1600 --width 1280

$(LOOK)/node_modules/.package-lock.json: $(LOOK)/package.json $(LOOK)/package-lock.json
	npm ci --prefix $(LOOK) --ignore-scripts --no-audit --no-fund
	@touch $@

viewer: $(LOOK)/node_modules/.package-lock.json # Grafana's UI library, for Node.js

look: $(READY) viewer ## Draw every dashboard into build/look, with Grafana's UI library
	$(BIN)/python -m tests.grafana.look $(DRAWN)

pictures: $(READY) viewer ## Draw the dashboards' pictures in README.md and docs
	$(BIN)/python -m tests.grafana.look.pictures

SHOTS ?= build/screenshots

screenshots: $(READY) ## Take pictures of every page in a browser, into SHOTS=build/screenshots
	$(BIN)/python -m tests.browser.screenshots $(SHOTS)

env: ## Write .env and settings/ for docker compose; again after a change of either
	@$(PYTHON) grafana/make_env.py

ROUNDS ?= 5
EVENTS ?= 400000
MILLIONS ?= 3
PEERS := .venv-peers

$(VENV)/.bench: $(READY)
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@touch $@

# Their pins and hoso's cannot both hold (pydantic, confluent-kafka), so they live apart. One that
# cannot be installed, on a Python it has no wheel for, is left out of the table and said so.
$(PEERS)/.ready: bench/peers/requirements.txt bench/peers/constraints.txt $(READY)
	$(PYTHON) -m venv $(PEERS)
	grep -v '^#' bench/peers/requirements.txt | while read -r peer; do \
	  PIP_CONSTRAINT=$(CURDIR)/bench/peers/constraints.txt $(PEERS)/bin/pip install --quiet --disable-pip-version-check $$peer \
	    || echo "$$peer cannot be installed" >&2; \
	done
	@touch $@

bench: $(VENV)/.bench $(PEERS)/.ready ## Measure hoso beside other engines; ROUNDS=5 EVENTS=400000 MILLIONS=3
	$(BIN)/python -m bench --rounds $(ROUNDS) --events $(EVENTS) --millions $(MILLIONS)

SEEDS ?= 1000
SEED ?=

chaos: $(READY) ## Break everything on Apache Kafka and compare every figure; QUICK=1 for a short cut
ifdef QUICK
	$(if $(SEED),HOSO_TEST_SEED=$(SEED)) $(SUITE) --numprocesses $(JOBS) --dist loadgroup --durations=4 tests/chaos/test_quick.py
else
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) --brokers apache --store rocksdb --write-report
endif

simulate: $(READY) ## Simulated crashes without a broker, SEEDS=50000 for a night
	$(BIN)/python -m tests.chaos.simulate --seeds $(SEEDS)

rules: ## Check configuration, rules and alerts with promtool and amtool
	promtool check config prometheus/prometheus.yml
	promtool check rules prometheus/rules/*.yml
	amtool check-config prometheus/alertmanager.yml

monitoring: $(READY) ## Check rules, alerts, dashboards and docker compose with real programs
	.ci/install-tools
	$(MAKE) rules
	CI=true $(SUITE) --numprocesses $(JOBS) --dist loadgroup tests/monitoring tests/grafana tests/compose

clean: ## Remove what was set up and built here
	rm -rf $(VENV) $(PEERS) .cache build *.egg-info
