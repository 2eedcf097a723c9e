# Two commands for a newcomer, each doing all its own set-up in .venv: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test check train-mini accuracy clean

help:
	@echo "make demo        export, verify and run the bundled student; pictures and a report in out/demo"
	@echo "make test        lint, types and tests"
	@echo "make train-mini  train the bundled student from scratch (hours; resumes where it stopped)"
	@echo "make accuracy    the README's accuracy table, measured again"

demo: $(VENV)/.ready
	$(BIN)/wholebody demo --output out/demo

test check: $(VENV)/.ready
	BIN=$(BIN) scripts/check

train-mini: $(VENV)/.ready
	$(BIN)/python -m wholebody.distill.dope.train --work .training/dope
	$(BIN)/python -m wholebody.distill.dope.finish --work .training/dope --output export/weights/dope-mini.safetensors

accuracy: $(VENV)/.ready
	mkdir -p out
	$(BIN)/wholebody export dope-mini --output out/dope-mini.onnx
	$(BIN)/wholebody bench accuracy out/dope-mini.onnx --dataset synthetic --pictures 500

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("wholebody needs Python 3.10 or newer, this is %d.%d: make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist out
