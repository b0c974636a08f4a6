# Two commands are enough: `make demo` and `make test`. Both set up what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A worker for each core, and each with one thread of OpenMP's: more would only wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadgroup

.PHONY: demo test check bench compare attacks randomness docs clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo ## send, encrypt, store, fetch, decrypt, compare; SRC=folder for your own studies
	$(BIN)/python -m demo $(SRC)

.PHONY: peers corpus research endure
peers: $(VENV)/.test
	tests/install_peers.sh
	$(BIN)/python -m demo.samples --output sample_dicom

test: peers ## the tests of the product, real peers included
	$(PYTEST) tests

corpus: peers ## what runs over real files once more, as on a machine without ../shared
	SHARED_DICOM=none $(PYTEST) $$(grep -rlE '^(from|import) (corpus|images)\b' tests --include='test_*.py')

research: peers ## tests of what the product never calls: attacks, baselines, ablation, batteries of randomness
	$(PYTEST) tests/research

endure: peers ## nodes, archives and plug-ins RUNS times beside a busy core: what fails now and then shows
	BIN=$(BIN) tests/endure.sh $(or $(RUNS),10)

check: $(VENV)/.test ## format, lint, types, and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest tests/test_layers.py

bench: $(VENV)/.test ## speed beside AES-256-GCM in the same run; writes the tables and the picture of docs/PERFORMANCE.md
	$(BIN)/pytest --benchmark-only --benchmark-disable-gc -p no:xdist benchmarks
	$(BIN)/pytest -s -p no:xdist benchmarks/test_cipher.py -k ratio
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.roofline
	$(BIN)/python -m benchmarks.estimate

compare: $(VENV)/.test ## image ciphers side by side: metrics, attacks, speed; writes docs/COMPARISON.md
	$(BIN)/python -m benchmarks.compare

attacks: $(VENV)/.test ## every attack on every cipher; writes the tables of docs/ATTACKS.md
	$(BIN)/python -m benchmarks.attacks

.PHONY: ablation
ablation: $(VENV)/.test ## what each stage buys, and trained against key-derived weights; writes docs/ABLATION.md
	PYTHONPATH=tests $(BIN)/python -m benchmarks.ablation $(STEPS)

randomness: $(VENV)/.test ## SP 800-22, ent, dieharder, structural tests, over an hour; writes docs/RANDOMNESS.md
	tests/install_peers.sh
	$(BIN)/python -m benchmarks.randomness

docs: $(VENV)/.test ## the site in build/site, with API and command line reference; stops at a dead link
	$(BIN)/typer iomt_crypt.cli.app utils docs --name iomt-crypt --title "Command line" --output docs/CLI.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## everything that was generated
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo/work demo/*.png
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[node,demo]'
	touch $@

$(VENV)/.test: setup.cfg constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable '.[node,checks,train,demo,torch,report,archive,s3,escrow,token,kms,docs,test]'
	touch $@ $(VENV)/.demo
