PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PREFECT_QUIET := PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL=WARNING PREFECT_SERVER_LOGGING_LEVEL=CRITICAL \
	PREFECT_SERVER_ANALYTICS_ENABLED=false

.PHONY: help demo iris test lint types contracts check clean

help:
	@echo "make demo    toss coins, evaluate them from the database, print a table"
	@echo "make iris    the same with five classifiers on the iris data"
	@echo "make test    run the test suite"
	@echo "make check   lint, types, import contracts, test suite"

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; say which: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv

.venv/demo: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing into .venv (about a minute, once) ..."
	@$(PIP_INSTALL) --editable '.[examples]'
	@touch $@

.venv/test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing into .venv (about a minute, once) ..."
	@$(PIP_INSTALL) --editable '.[test]'
	@touch .venv/demo $@

demo: .venv/demo
	@$(PREFECT_QUIET) $(BIN)/python flows/coin_toss.py

iris: .venv/demo
	@$(PREFECT_QUIET) $(BIN)/python flows/iris.py

test: .venv/test
	@$(BIN)/python -m pytest

lint: .venv/test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/test
	@$(BIN)/mypy

contracts: .venv/test
	@$(BIN)/lint-imports

check: lint types contracts test

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
