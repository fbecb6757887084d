# make demo: set up a fresh machine and run the whole chain on built-in data.
# make test: set up and pass the tests.
# make docs: build the pages of docs/ into a website.
# make rtx:  on a machine with an RTX card: build, verify and time engines; benchmarks/results/rtx-<gpu>.json.

ifeq ($(OS),Windows_NT)
  BIN := .venv/Scripts
  PYTHON ?= python
else
  BIN := .venv/bin
  PYTHON ?= python3
endif
RUN := $(BIN)/python
INSTALL := $(RUN) -m pip install --quiet --no-compile --disable-pip-version-check

# The tests run in as many processes as there are cores, four at most; each trains and reads with one thread.
PYTEST := $(RUN) -m pytest -n auto --maxprocesses 4 --dist loadgroup

# The lowest versions that pyproject.toml allows, in an environment of their own.
LOWEST := .venv-lowest/$(notdir $(BIN))

.PHONY: setup demo test test-all test-lowest test-browser lint format-check types imports pytest docs rtx web

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) -c constraints.txt -e ".[cpu,train,lm,synthetic,parquet,hub,rtx,docs,dev]"
	$(RUN) -c "open('.venv/ready', 'w').close()"

demo: setup
	$(RUN) -m htrcompress.distill
	$(RUN) -m htrcompress.export --trt --fp16
	$(RUN) benchmarks/run.py --batch 32

lint: format-check imports types

format-check: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

imports: setup
	$(BIN)/lint-imports

types: setup
	$(RUN) -m mypy

pytest: setup
	$(PYTEST)

# mypy runs beside the tests.
test: setup format-check imports
	$(MAKE) --no-print-directory -j 2 types pytest

test-all: lint
	$(PYTEST) -m "not browser"

test-lowest:
	$(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/uv pip install --quiet --python $(LOWEST)/python --resolution lowest-direct $(LOWEST_OPTIONS) \
		-e ".[cpu,train,lm,synthetic,parquet,hub,dev]"
	$(LOWEST)/python -m pytest -n auto --maxprocesses 4 --dist loadgroup

# The pages of docs/ as a website that needs no network: build/docs/site.
docs: setup
	$(RUN) tools/api.py
	$(RUN) tools/website.py

# The wheels for CUDA 13 and for CUDA 12 hold the same modules, so those of the setup go where the driver is older.
rtx: EXTRA = $(shell $(RUN) benchmarks/engines/gpu.py)
rtx: setup
	$(if $(findstring cu12,$(EXTRA)),$(RUN) -m pip uninstall --quiet --yes tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings)
	$(INSTALL) -e ".[$(EXTRA)]"
	$(RUN) benchmarks/engines/rtx.py

# The page that reads in the browser without a server: needs npm.
web: setup
	cd export/web && npm ci --ignore-scripts
	$(RUN) export/web/build.py

# Both forms of the page in headless Chromium: needs npm and the packages chromium and chromium-driver.
test-browser: web
	$(RUN) -m pytest -m browser tests/test_browser.py
