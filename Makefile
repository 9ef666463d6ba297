# make setup | demo | test | lint | bench | clean
#   PYTHON     interpreter for .venv, 3.10 to 3.13
#   DATASET    for demo: what to localize in, e.g. folder:/data/route (default: the synthetic street)
#   EXTRACTOR  for demo: hfnet (default), rootsift or the path of an .onnx file
#   ARGS       for demo, test and bench: anything more
PYTHON ?= python3
DATASET ?=
EXTRACTOR ?=
ARGS ?=

.PHONY: setup demo test lint bench clean

setup:
	@scripts/setup.sh $(PYTHON)

demo: setup
	.venv/bin/vizloc demo --out demo_output $(DATASET:%=--dataset %) $(EXTRACTOR:%=--extractor %) $(ARGS)

test:
	@scripts/setup.sh $(PYTHON) train
	@scripts/test.sh $(ARGS)

lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

bench:
	@scripts/setup.sh $(PYTHON) train
	.venv/bin/python benchmarks/run.py $(ARGS)

clean:
	rm -rf .venv build install log dist demo_output bench_output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
