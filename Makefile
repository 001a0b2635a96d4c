# Each target sets up .venv by itself from the pinned constraints.txt.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS_READY := $(VENV)/.ready-for-tests
# cap glibc's give-back of memory: torch on CPU asks for the same big buffers again and again
export MALLOC_TRIM_THRESHOLD_ = 1073741824
export MALLOC_MMAP_THRESHOLD_ = 33554432

.PHONY: demo dashboard lint test test-all test-half test-others setup clean

setup: $(READY)

# the package itself is not installed: jobs and tests find it in platform/, as they do on the nodes of a cluster
$(READY): requirements.txt constraints.txt
	command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; install Python 3.11 with venv, or say make PYTHON=..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements.txt
	touch $(READY)

# what tests and lint need beside it
$(TESTS_READY): $(READY) requirements-test.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-test.txt
	touch $(TESTS_READY)

demo: $(READY)
	$(BIN)/python jobs/demo.py

# STORE: a job's output folder, or an MLflow store; make dashboard STORE=outputs/demo
STORE ?= outputs
PORT ?= 8501
export STORE  # the shell must not take its name apart
dashboard: $(READY)
	PYTHONPATH=platform:. $(BIN)/python -c 'from objadapt.commands import run; run("dashboard")' "$$STORE" --port $(PORT)

lint: $(TESTS_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

test: $(TESTS_READY)
	$(MAKE) --jobs=2 test-half test-others ONLY='-m "not slow and not cluster" --durations=10'

# side by side, in halves of about the same length
HALF := tests/data tests/jobs tests/pipeline tests/backbone tests/masks tests/cluster
test-all: $(TESTS_READY)
	$(MAKE) --jobs=2 test-half test-others

# SHARE=K/N: of the slow and cluster tests the K-th of N shares
SHARE ?= 0/1
# a thread a half: threads that wait for each other on shared cores make small tensors ten times slower
test-half: $(TESTS_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --share $(SHARE) $(ONLY) $(HALF)

test-others: $(TESTS_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --share $(SHARE) $(ONLY) $(HALF:%=--ignore=%)

clean:
	rm -rf build .pytest_cache .ruff_cache
