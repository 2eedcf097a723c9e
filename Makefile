# Two commands for a newcomer, each doing all its own set-up in .venv: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test check gpu-check train-dope-mini train-dwpose-mini accuracy clean

help:
	@echo "make demo        export, verify and run the bundled student; pictures and a report in out/demo"
	@echo "make test        lint, types and tests"
	@echo "make accuracy    the README's accuracy tables of the bundled students, measured again"
	@echo "make gpu-check   everything that only an NVIDIA GPU can prove, into out/gpu-check.json; pip install"
	@echo "                 the extra 'gpu' into .venv first: without pycuda or TensorRT less is checked"
	@echo "make train-dope-mini, make train-dwpose-mini"
	@echo "                 train a bundled student from scratch: minutes on a GPU, else days; it resumes"

demo: $(VENV)/.ready
	$(BIN)/wholebody demo --output out/demo

test check: $(VENV)/.ready
	BIN=$(BIN) scripts/check

train-dope-mini train-dwpose-mini: train-%-mini: $(VENV)/.ready
	$(BIN)/python -m wholebody.distill.$*.train --work .training/$*
	$(BIN)/python -m wholebody.distill.$*.finish --work .training/$* --output export/weights/$*-mini.safetensors

accuracy: $(VENV)/.ready
	mkdir -p out
	for mini in dope-mini dwpose-mini; do \
	  $(BIN)/wholebody export $$mini --output out/$$mini.onnx && \
	  $(BIN)/wholebody bench accuracy out/$$mini.onnx --dataset synthetic --pictures 500 || exit 1; \
	done

gpu-check: $(VENV)/.ready
	@$(BIN)/python -m wholebody.benchmarks.gpu_check --probe
	mkdir -p out/gpu
	for mini in dope-mini dwpose-mini; do $(BIN)/wholebody export $$mini --output out/gpu/$$mini.onnx || exit 1; done
	$(BIN)/python -m wholebody.benchmarks.gpu_check --json out/gpu-check.json; kernels=$$?; \
	$(BIN)/python -m wholebody.benchmarks.engine_check prepare out/gpu/check out/gpu/*.onnx --pictures calibration_data --speed && \
	$(BIN)/python -m wholebody.benchmarks.engine_check run out/gpu/check --output out/gpu/engines.json --into out/gpu-check.json \
	  && exit $$kernels

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("wholebody needs Python 3.10 or newer, this is %d.%d: make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps rtmlib  # the peer of `wholebody bench peer`; it asks for two OpenCVs
	@touch $@

clean:
	rm -rf $(VENV) build dist out
