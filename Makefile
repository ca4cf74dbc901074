# Every target installs what it needs into .venv, from the lock, the first time.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo study matrix test test-all test-gpu lab lint notebooks bench screenshots clean lock

demo: $(READY)  ## the whole thread on the embedded street scenes; figures in runs/demo/figures/
	$(BIN)/labkit run all --set runs=runs/demo --set figures=runs/demo/figures
	@cat runs/demo/figures/table.md

study: $(READY)  ## longer, three seeds: the committed figures/streets/
	$(BIN)/labkit run all --seeds 0,1,2 --set student.train_steps=1200 --set runs=runs/study --set figures=figures/streets \
	  --set split_noisings=3 --set curve_frames=100

matrix: $(READY)  ## figures/streets/{study,noise,ablations}: seeds, twins, intervals; see the README for how long
	$(BIN)/labkit matrix labkit/workflow/streets.yaml
	$(BIN)/labkit matrix labkit/workflow/noise.yaml
	$(BIN)/labkit matrix labkit/workflow/ablations.yaml

test: $(READY)
	$(BIN)/python -m pytest

test-all: $(READY)
	$(BIN)/python -m pytest -m "not gpu"

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

lab: $(READY)
	$(BIN)/jupyter lab --notebook-dir=notebooks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m labkit.pairs

notebooks: $(READY)  ## generate every .ipynb from its .py
	$(BIN)/python -m labkit.pairs --write

bench: $(READY)
	$(BIN)/python -m tests.benchmarks.bench

screenshots: $(READY)  ## figures/explorers/: each explorer as JupyterLab shows it; needs make demo and a Chromium
	$(BIN)/python -m tests.screenshots

clean:  ## environment and caches; run folders stay
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache

lock:  ## needs uv on the PATH
	uv pip compile --universal --python-version 3.11 --extra dev --extra export --extra slurm --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "labkit needs Python 3.11-3.13, found %d.%d. Use: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(READY)
