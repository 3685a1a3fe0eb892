# Two commands for a stranger: `make demo` and `make test`. Both make .venv first if it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint proofs arm64 wheel clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

# The main job on scikit-learn's handwritten digits; nothing is downloaded.
demo: $(STAMP)
	$(BIN)/sel-edge demo --out runs/demo --replace

# Two processes, of one thread each: more would not be faster on the smallest machine that runs them.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest \
	--numprocesses 2 --dist loadfile

test: lint
	$(PYTEST) -m "not proof"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Slow end-to-end proofs: a real browser, a full disk, a wheel in an empty environment, an Arm board.
proofs: $(STAMP)
	$(PYTEST) -m proof

# The edge on emulated Raspberry Pis: all tests of the runtime, compared with this machine.
arm64: $(STAMP)
	PYTHON=$(BIN)/python tools/arm64.sh

wheel: $(STAMP)
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist runs/demo
