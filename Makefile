# make demo: set up a fresh machine and run the whole chain on built-in data.
# make test: set up and pass the tests.

ifeq ($(OS),Windows_NT)
  BIN := .venv/Scripts
  PYTHON ?= python
else
  BIN := .venv/bin
  PYTHON ?= python3
endif
RUN := $(BIN)/python

.PHONY: setup demo test test-all lint

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e ".[cpu,train,llm,synthetic,rtx,dev]"
	$(RUN) -c "open('.venv/ready', 'w').close()"

demo: setup
	$(RUN) -m htrcompress.distill
	$(RUN) -m htrcompress.export --trt --fp16
	$(RUN) benchmarks/run.py --batch 32

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

test: lint
	$(RUN) -m pytest

test-all: lint
	$(RUN) -m pytest -m ""
