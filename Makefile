# Two commands: `make demo` and `make test`. Both set up what they need first.
VENV := .venv
PYTHON ?= python3
BIN := $(VENV)/bin
DONE := $(VENV)/.installed

.PHONY: demo test test-slow test-quantised check focus setup clean

demo: $(DONE)
	$(BIN)/rsa-ops demo

test: $(DONE)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(DONE)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow

test-quantised: $(DONE)  # beside the environment and not in it: wherever bitsandbytes is installed, peft imports it
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(VENV)/quantised bitsandbytes==0.50.2
	HF_HUB_OFFLINE=1 PYTHONPATH=$(VENV)/quantised $(BIN)/python -m pytest tests/unit/tuners/test_citizen_quantised.py

check: $(DONE)
	ci/check

focus: $(DONE)  # the official validator of FOCUS, which needs python3.12, in an environment of its own
	$(BIN)/python ci/focus.py .venv-focus

setup: $(DONE)

$(DONE): constraints.txt requirements-assets.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "rsa_ops needs Python 3.11 to 3.13; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --no-deps --require-hashes --requirement requirements-assets.txt
	touch $(DONE)

clean:
	rm -rf $(VENV) rsa-ops-demo rsa-ops-run
