PYTHON ?= python3
BIN := .venv/bin
# Python compiles modules when they are imported first; of all that is installed, most never are.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet --no-compile --disable-pip-version-check --constraint constraints.txt
PREFECT_QUIET := PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL=WARNING PREFECT_SERVER_LOGGING_LEVEL=CRITICAL \
	PREFECT_SERVER_ANALYTICS_ENABLED=false
# A temporary server on a machine that is busy takes longer than the 20 s that Prefect waits.
PREFECT_PATIENT := PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS=120

# Each of many programs would compile all modules of the package.
unexport PYTHONDONTWRITEBYTECODE

BENCHMARKS := start values tables frames tracking writes execution shared growth pages grid clusters

.PHONY: help setup demo iris digits deploy-demo test lint types contracts check docs matrix matrix-quick coverage fuzz soak bench clean

help:
	@echo "make demo          toss coins, evaluate them from the database, print a table"
	@echo "make iris          the same with five classifiers on the iris data"
	@echo "make digits        curves, early stop and model files of classifiers on the digits data"
	@echo "make deploy-demo   both flows as deployments, with server, worker and UI, until Ctrl-C"
	@echo "make setup         an environment in .venv, with all that the other targets need"
	@echo "make test          run the test suite"
	@echo "make check         lint, types, import contracts, test suite"
	@echo "make docs          the documentation as a site, in build/site"
	@echo "make coverage      run the test suite, and print which lines and branches it has reached"
	@echo "make matrix        other versions of Python and of the libraries, in environments of their own"
	@echo "make matrix-quick  a part of that, with the lowest and the newest versions"
	@echo "make fuzz          a million mutated values do no harm; thousands of others come back"
	@echo "make soak          hundreds of kills and thousands of reads, on every backend"
	@echo "make bench         speed beside pickle, drivers, MLTRAQ and MLflow, as ratios; some: make bench growth"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; say which: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv

.venv/demo: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing into .venv (about a minute, once) ..."
	@$(PIP_INSTALL) --editable '.[examples]'
	@touch $@

.venv/test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing all tools into .venv (about a minute, once) ..."
	@$(PIP_INSTALL) --editable '.[test]'
	@touch .venv/demo $@

setup: .venv/test

demo: .venv/demo
	@exec env $(PREFECT_QUIET) $(PREFECT_PATIENT) $(BIN)/python flows/coin_toss.py

iris: .venv/demo
	@exec env $(PREFECT_QUIET) $(PREFECT_PATIENT) $(BIN)/python flows/iris.py

digits: .venv/demo
	@exec env $(PREFECT_QUIET) $(PREFECT_PATIENT) $(BIN)/python flows/digits.py

deploy-demo: .venv/demo
	@exec env $(PREFECT_QUIET) $(BIN)/python deployments/demo.py

test: .venv/test
	@$(BIN)/python -m pytest -n 4

lint: .venv/test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/test
	@$(BIN)/mypy

contracts: .venv/test
	@$(BIN)/lint-imports

check: lint types contracts test

# Only some tests: make coverage TESTS=tests/codecs
coverage: .venv/test
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n 4 $(TESTS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

# Of its own, so that it can be made while the other is.
.venv-matrix/bin/nox:
	@$(PYTHON) -m venv .venv-matrix
	@.venv-matrix/bin/python -m pip install --quiet --quiet --disable-pip-version-check 'nox>=2025.2' 'uv>=0.5'

docs: .venv/test
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

matrix: .venv-matrix/bin/nox
	@PATH="$(CURDIR)/.venv-matrix/bin:$$PATH" nox --tags matrix

matrix-quick: .venv-matrix/bin/nox
	@PATH="$(CURDIR)/.venv-matrix/bin:$$PATH" nox --tags quick

fuzz: .venv/test
	@$(BIN)/python -m tests.codecs.fuzz --cases 1000000
	@$(BIN)/python -m pytest -n 4 --hypothesis-profile=fuzz tests/codecs/test_roundtrip.py tests/codecs/test_json.py

soak: .venv/test
	@$(BIN)/python -m tests.contract.soak
	@$(BIN)/python -m tests.execution.soak
	@$(BIN)/python -m tests.orchestration.late_worker
	@$(BIN)/python -m tests.deployments.shared_soak
	@$(BIN)/python -m pytest -q tests/deployments/lost_flow_runs.py

.venv-peers/bin/python:
	@echo "Installing what is measured beside us into .venv-peers ..."
	@$(PYTHON) -m venv .venv-peers
	@$@ -m pip install --quiet --quiet --disable-pip-version-check mltraq==0.1.165 mlflow joblib optuna aim trackio

bench: .venv/test .venv-peers/bin/python
	@MLTRAQ_PEERS_PYTHON=.venv-peers/bin/python $(BIN)/python -m benchmarks $(filter $(BENCHMARKS),$(MAKECMDGOALS))

$(BENCHMARKS): bench
	@:

clean:
	rm -rf .venv .venv-peers .venv-matrix .nox build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
