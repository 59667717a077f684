# Everything runs from a virtual environment in .venv, made from the hash-locked requirements on first use.
PYTHON ?= python3
BIN := .venv/bin
PYTEST_WORKERS ?= 3
NIGHTLY_RUNS ?= 200
NIGHTLY_SEED ?= 1

# An environment that forbids it would have every worker of the tests and every process they start compile all anew.
test: export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help demo test nightly run lint fmt bench bench-monitors bench-rules load docs site audit lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 8

.venv/installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "evaluator needs Python 3.11 or newer; set PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing locked dependencies into .venv (first time: about a minute) ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/installed  ## run the whole service against embedded stand-ins, no key or account needed
	@$(BIN)/evaluator demo

run: .venv/installed  ## run scheduler and workers for ever against the services in the environment
	@$(BIN)/evaluator run

test: lint  ## lint, types, import contracts and every test
	@$(BIN)/pytest -n $(PYTEST_WORKERS)

nightly: .venv/installed  ## the fault matrix: every fault alone, then 200 random combinations (about 15 minutes)
	@$(BIN)/python -m tests.matrix --each --runs $(NIGHTLY_RUNS) --seed $(NIGHTLY_SEED)

lint: .venv/installed  ## ruff, mypy (strict), import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

fmt: .venv/installed  ## format and mend what ruff can mend
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

# What the service is compared with, in a virtual environment of its own; without it the tables say so.
.venv-bench/installed: requirements/bench.txt
	@echo "installing the peers into .venv-bench ..." >&2
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/bench.txt
	@touch $@

bench: .venv/installed  ## time the service side by side with what people use today, about 10 minutes
	@$(MAKE) --no-print-directory .venv-bench/installed || echo "the peers cannot be installed" >&2
	@$(BIN)/python -m benchmarks

bench-monitors: .venv/installed  ## measure alerts on simulated years (about 15 minutes), write docs/monitors.md
	@$(BIN)/python -m benchmarks.monitors --write

bench-rules: .venv/installed  ## measure what each kind of rule costs (about a minute), write docs/performance.md
	@$(BIN)/python -m benchmarks.rules --write

load: .venv/installed  ## measure load and growth (about 40 minutes), write the results into docs/scaling.md
	@$(BIN)/python -m benchmarks.load --write

docs: .venv/installed  ## write the generated parts of docs/ and config/schema
	@$(BIN)/evaluator schema
	@$(BIN)/python docs/generate.py

site: .venv/installed  ## build the documentation as a site into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo "open site/index.html"

audit:  ## look up what is locked among known vulnerabilities (needs pip-audit on the PATH, and a network)
	@for set in runtime build dev; do \
	  pip-audit --strict --disable-pip --require-hashes -r requirements/$$set.txt || exit 1; \
	done

lock:  ## resolve requirements/*.txt anew (needs uv on the PATH)
	@for set in runtime build dev bench; do \
	  case $$set in runtime) from=pyproject.toml ;; build) from="--group build" ;; \
	    dev) from="pyproject.toml --group dev" ;; bench) from=requirements/bench.in ;; esac; \
	  uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate $$from -o requirements/$$set.txt --upgrade || exit 1; \
	done

clean:  ## forget the virtual environment and every cache
	@rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
