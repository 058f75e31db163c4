# Two commands matter: `make book` and `make test`. Both make the environment first, when it is missing or out of date.
#
#   make env      the environment in .venv, from requirements.lock
#   make book     run the notebooks, build the book into _build/html
#   make test     every test, and every notebook by nbval
#   make accept   replace the committed notebooks and results by those of the last `make book`
#   make accept-open   run the notebooks at the profile `open` (fetch its corpora first), take over the results
#   make bench    measure speed and memory, for the tables in data/benchmarks (half an hour, 70 GB of free disk)
#   make serve    show the book at http://localhost:8000 (PORT=... for another port)
#   make clean    remove _build (the environment and the cache stay)
#
# PYTHON=/path/to/python   the interpreter to make .venv from (default: the first 3.11+ found)
# JOBS=1                   notebooks or test files at a time (default: 2; each takes one to two GB of memory)
# TORCH_INDEX_URL=https:// another package index for torch alone, for instance one with CPU-only builds

VENV  := .venv
BIN   := $(VENV)/bin
BUILD := _build
PORT  ?= 8000
JOBS  ?= 2
PEERS := .cache/benchmark-peers
TABLES := data/benchmarks
# The stamp is named after the content of the lock and of pyproject.toml: it goes stale when they change, not when
# their dates do.
STAMP := $(VENV)/.made-$(shell cat requirements.lock pyproject.toml | cksum | tr ' ' '-')
TORCH := $(shell grep '^torch==' requirements.lock)

.PHONY: env notebooks book test accept accept-open bench serve clean

env: $(STAMP)

# torch goes first and alone: no other package may choose its build. --no-deps: the lock is complete. With
# --no-build-isolation the last step asks no index for anything.
$(STAMP): export PIP_DISABLE_PIP_VERSION_CHECK = 1
$(STAMP):
	@test -x $(BIN)/pip || PYTHON="$(PYTHON)" sh tools/make_venv.sh $(VENV)
	$(BIN)/pip install $(if $(TORCH_INDEX_URL),--index-url "$(TORCH_INDEX_URL)") "$(TORCH)"
	$(BIN)/pip install --no-deps --requirement requirements.lock
	$(BIN)/pip install --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.made-*
	@touch $@

# From here on nothing needs a network; a library that would look for one is told not to.
notebooks book test: export HF_HUB_OFFLINE = 1
notebooks book test: export TRANSFORMERS_OFFLINE = 1
notebooks book test: export HF_DATASETS_OFFLINE = 1
notebooks book test: export TOKENIZERS_PARALLELISM = false

# Finished notebooks are skipped, when their text, parameters, library and data are what they were.
notebooks: env
	$(BIN)/langsim run --all --jobs $(JOBS) --out $(BUILD)/notebooks

book: notebooks
	$(BIN)/python tools/build_book.py $(BUILD)/notebooks $(BUILD)
	@echo "The book is $(BUILD)/html/index.html; 'make serve' shows it at http://localhost:$(PORT)."

# Files share the cores, so each has one.
test: export OMP_NUM_THREADS = 1
test: env
	$(BIN)/python -m pytest tests notebooks --nbval-lax --nbval-current-env --numprocesses $(JOBS) --dist loadfile

accept: notebooks
	$(BIN)/python tools/accept.py $(BUILD)/notebooks

# Results alone: the notebooks in the repository, and in the book, are those of `mini`. What a finished run left is kept.
accept-open: env
	$(BIN)/langsim run --all --profile open
	$(BIN)/langsim results accept --profile open

# One thread where peers have one; a quiet machine, please.
bench: export PYTHONPATH = $(CURDIR)/$(PEERS)
bench: env
	@test -d $(PEERS) || $(BIN)/pip install --quiet --no-deps --target $(PEERS) --requirement benchmarks/requirements.txt
	$(BIN)/python benchmarks/fisher_speed.py --width 512 --tokens 8 32 128 --rounds 2 --csv $(TABLES)/fisher_512.csv
	$(BIN)/python benchmarks/fisher_speed.py --width 1024 --tokens 32 --layers 1 --rounds 2 --call-tokens 2048 --csv $(TABLES)/fisher_1024.csv
	$(BIN)/python benchmarks/all_pairs.py --languages 17 --parameters 1e7 1e8 --csv $(TABLES)/all_pairs_17.csv
	$(BIN)/python benchmarks/all_pairs.py --languages 100 --parameters 1e8 --csv $(TABLES)/all_pairs_100.csv
	$(BIN)/python benchmarks/threshold.py --parameters 1e7 1e8 --rounds 2 --csv $(TABLES)/threshold.csv
	$(BIN)/python benchmarks/training_speed.py --csv $(TABLES)/training.csv
	$(BIN)/python benchmarks/decoding_speed.py --csv $(TABLES)/decoding.csv
	$(BIN)/python benchmarks/lslo_speed.py --csv $(TABLES)/lslo.csv
	$(BIN)/python benchmarks/paper_size.py --batches 2 --batch-size 8 --csv $(TABLES)/paper_size.csv

serve:
	@test -f $(BUILD)/html/index.html || { echo "there is no book yet; run 'make book' first" >&2; exit 1; }
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory $(BUILD)/html

clean:
	rm -rf $(BUILD)
