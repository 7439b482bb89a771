# What one does most often. `make setup` once; everything runs in .venv, PYTHON=... names another interpreter.
PYTHON ?= .venv/bin/python

.PHONY: setup app test quick lint format

setup:
	python3 -m venv .venv
	.venv/bin/pip install -e ".[dev]"

app:
	$(PYTHON) app.py

test:
	$(PYTHON) -m pytest -n 2 --dist loadfile --reruns 2

quick:
	$(PYTHON) -m pytest -m "not slow and not browser"

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
