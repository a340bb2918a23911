# Everything here needs Python 3.11+, make and the package index, and nothing else.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# The lock file is complete, so nothing is resolved anew: resolving, pip may come upon a newer
# release of something locked and refuse it for its missing hash.
PIP_INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --no-deps

.PHONY: help install demo test test-rules test-rest test-worlds bench chaos simulate mutants check \
    cluster format lock clean

help:           ## show this
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: [^#]*##/:/' | column -t -s:

install: $(STAMP)  ## make .venv with the locked dependencies and the giftcheck command

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "giftcheck needs Python 3.11 or newer: make install PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --require-hashes -r requirements.lock
	$(PIP_INSTALL) --no-build-isolation -e .
	@touch $(STAMP)

demo: install   ## watch gifts turn into results (make demo ARGS="--duration 20s --json")
	@$(BIN)/giftcheck demo $(ARGS)

test: install   ## run all tests, those against a real Kafka included, or those that ARGS names
ifdef ARGS
	$(BIN)/pytest $(ARGS)
else
	@$(MAKE) --no-print-directory --jobs=2 test-rules test-rest
	@$(MAKE) --no-print-directory test-worlds
	$(BIN)/coverage combine --quiet .coverage.rules .coverage.rest
	$(BIN)/coverage report --fail-under=90
	$(BIN)/coverage report --include='consumer/core/*' --fail-under=100
endif

bench: install  ## speed, CPU and memory on a real Kafka, beside a plain loop (3 minutes; ARGS="--json")
	@$(BIN)/python -m tests.bench $(ARGS)

chaos: install  ## kill, cut and stall real brokers and consumers (15 minutes; ARGS="--seed 7 --json")
	@$(BIN)/python -m tests.chaos $(ARGS)

simulate: install  ## attack it in a simulated world (SEEDS=1000 FIRST=1), or show one (SEED=42)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),200) --first $(or $(FIRST),1))

cluster: install  ## the chart on a real Kubernetes API server (2 minutes; the first time needs Go and 20 more)
	@$(BIN)/python -m tests.cluster.binaries
	$(BIN)/pytest tests/cluster -m cluster --durations=5 $(ARGS)

mutants: install   ## plant bugs: the simulation must find each (minutes; ARGS="lease" for some)
	@$(BIN)/python -m tests.simulation.mutants $(ARGS)

# The rules read no clock: they may take what the other tests leave of the machine, and the time.
test-rules:
	COVERAGE_FILE=.coverage.rules nice -n 19 $(BIN)/pytest -q tests/core --timeout=1800 \
	    --cov --cov-report= --durations=5

test-rest:
	COVERAGE_FILE=.coverage.rest $(BIN)/pytest --ignore=tests/core --ignore=tests/simulation \
	    --cov --cov-report= --durations=15

# Simulated worlds take every core, and count no lines: that would make them three times as long.
test-worlds:
	$(BIN)/pytest tests/simulation --durations=5

check: install  ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What the image holds, and what builds it: parts of the lock that is tested.
LOCK_PART = --quiet --universal --generate-hashes --no-emit-index-url --no-header \
    --constraints requirements.lock

lock:           ## resolve the dependencies anew into the requirements*.lock (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	    --upgrade --group dev pyproject.toml -o requirements.lock
	uv pip compile $(LOCK_PART) pyproject.toml -o requirements-image.lock
	uv pip compile $(LOCK_PART) --group pyproject.toml:build -o requirements-build.lock

clean:          ## remove what the commands here have made
	rm -rf .venv .cache .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
