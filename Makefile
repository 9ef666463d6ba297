# make setup | demo | quick | test | lint | bench | clean
#   PYTHON     interpreter of the environment, 3.10 to 3.14
#   ROS        release of ROS 2 from wheels: kilted in .venv, jazzy in .venv-jazzy (default: kilted, or what is sourced)
#   DATASET    for demo: what to localize in, e.g. folder:/data/route (default: the synthetic street)
#   EXTRACTOR  for demo: hfnet (default), rootsift or the path of an .onnx file
#   VIEW       for demo: 1 shows the result in rerun's viewer (installs it; docs/viewer.md)
#   ARGS       for demo, quick, test and bench: anything more
PYTHON ?= python3
ROS ?=
DATASET ?=
EXTRACTOR ?=
VIEW ?=
ARGS ?=

VENV := $(if $(filter-out kilted,$(ROS)),.venv-$(ROS),.venv)
SETUP := scripts/setup.sh $(VENV) $(PYTHON) "$(ROS)"

# Compiled files: the tests start hundreds of processes, and each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo quick test lint bench clean

setup:
	@$(SETUP)

demo:
	@$(SETUP) $(VIEW:%=view)
	$(VENV)/bin/vizloc demo --out demo_output $(DATASET:%=--dataset %) $(EXTRACTOR:%=--extractor %) $(VIEW:%=--view) $(ARGS)

test:
	@$(SETUP) train
	@scripts/test.sh $(VENV) "$(ROS)" $(ARGS)

quick:
	@$(SETUP) train
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q --numprocesses auto --maxprocesses 8 --dist loadfile \
		--no-loadscope-reorder -m "not e2e and not ros" $(ARGS)

lint: setup
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

bench:
	@$(SETUP) train
	$(VENV)/bin/python benchmarks/run.py $(ARGS)

clean:
	rm -rf .venv .venv-* build install log dist demo_output bench_output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
