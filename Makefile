# Every target installs what it needs into .venv, from the lock, the first time.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
MATRICES := labkit/batch/matrices
FIGURES := scenes convergence confirmation distillers ablations consistency noise threads precision networks
FIGURES += $(if $(LABKIT_DATA),camvid)

.PHONY: demo figures test test-all test-gpu lab lint notebooks bench bench-gpu site screenshots clean lock

demo: $(READY)  ## two teachers, four students, tables and maps on the embedded street scenes
	$(BIN)/labkit matrix $(MATRICES)/demo.yaml

figures: $(READY)  ## tables and figures of these matrices made anew, CamVid's if LABKIT_DATA is set; resumable, 8 hours on 2 CPU cores, CamVid 2 more
	$(BIN)/labkit run noising --set figures=figures/streets/noising
	$(BIN)/labkit run distillers --set figures=figures/streets/toy
	@for name in $(FIGURES); do $(BIN)/labkit matrix $(MATRICES)/$$name.yaml --jobs 2 || exit 1; done
	$(BIN)/python -m labkit.study.readme

test: $(READY)  ## two processes, a file's tests in one of them
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu"

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

lab: $(READY)  ## JupyterLab on copies in runs/lab, so that saving never changes the source
	mkdir -p runs/lab/notebooks && cp -r figures runs/lab/
	@for source in notebooks/*.ipynb; do copy=runs/lab/$$source; \
	  if [ -e $$copy ] && [ $$source -nt $$copy ]; then mv $$copy $${copy%.ipynb}.old.ipynb; \
	    echo "$$source is newer than your copy, which is now $${copy%.ipynb}.old.ipynb"; fi; \
	  [ -e $$copy ] || cp $$source $$copy; done
	$(BIN)/jupyter lab --notebook-dir=runs/lab

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m labkit.batch.pairs

notebooks: $(READY)  ## generate every .ipynb from its .py
	$(BIN)/python -m labkit.batch.pairs --write

bench: $(READY)
	$(BIN)/python -m tests.benchmarks.bench

bench-gpu: $(READY)  ## the rows of a CUDA device; without one it says so
	$(BIN)/python -m tests.benchmarks.bench gpu

site: $(READY)  ## site/index.html: executed notebooks, tables and figures; of the demo where it was made
	$(BIN)/labkit site

screenshots: $(READY)  ## figures/explorers/: each explorer in JupyterLab; needs make demo and Chromium
	$(BIN)/python -m tests.screenshots

clean:  ## environment and caches; run folders stay
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache

lock:  ## needs uv on the PATH
	uv pip compile --universal --python-version 3.11 --extra dev --extra export --extra slurm \
	  --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  pyproject.toml -o requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "labkit needs Python 3.11-3.13, got %d.%d. Use: make PYTHON=python3.12 ..." % v)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(READY)
