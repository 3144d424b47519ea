# Needs Python 3.11 or newer, pip and make; each target sets up all that it uses, in .venv.
# Another interpreter: make demo PYTHON=python3.13

PYTHON ?= python3
BIN := .venv/bin

# pip reads the pins from here, for packages and for what builds them.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint types tests docs clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

demo: .venv/core.stamp ## fit bundled real data, end with the path of the report
	$(BIN)/minimand fit breast_cancer

test: lint types tests docs ## everything that a change must pass

lint: .venv/test.stamp ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/test.stamp ## mypy, strict
	$(BIN)/mypy

tests: .venv/test.stamp ## pytest: tests and doctests on every core, those that hold the clock alone
	$(BIN)/pytest -m 'not timed' --numprocesses logical --dist loadfile
	$(BIN)/pytest -m timed tests

docs: .venv/test.stamp ## the documentation, without warnings
	rm -rf docs/_generated
	$(BIN)/sphinx-build -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html

clean: ## remove the environment and all that was built (runs/ stays)
	rm -rf .venv build dist docs/_build docs/_generated .mypy_cache .pytest_cache .ruff_cache

.venv/core.stamp: .venv/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/test.stamp: .venv/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@ .venv/core.stamp

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'minimand needs Python 3.11 or newer; name one with make PYTHON=python3.13' >&2; exit 2; }
	$(PYTHON) -m venv .venv
