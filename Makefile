# Every target does its own set-up; see tools/setup for what that is.

BIN := .venv/bin
OPTIONS ?=
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo test stress check lint types contracts docs format bench clean

help:
	@echo 'make demo    run the university server of the examples under its limits'
	@echo 'make test    run the tests, as an ordinary user and (where you are) as root'
	@echo 'make stress  run the loads that take minutes; each stops by itself'
	@echo 'make check   lint, formatting, types, import contracts and documents'
	@echo 'make docs    the documents and the API reference as a site, in build/docs'
	@echo 'make format  apply the formatting that check asks for'
	@echo 'make bench   the quick benchmark, printed as ratios'
	@echo 'make clean   remove everything that the targets above made'

# What each level of the set-up is made from; the level "test" includes the others and leaves their stamps.
.venv/.ready-%: pyproject.toml $(wildcard setup.py workers/*.c) tools/setup
	@tools/setup $*

demo: .venv/.ready-demo
	@mkdir -p build
	@$(BIN)/governor batch examples/university.toml --report build/university.json $(OPTIONS)

test: .venv/.ready-test
	@tools/test $(OPTIONS)

stress: .venv/.ready-test
	@tools/stress

# Each tool is a target of its own, so that make -k runs all of them.
check: lint types contracts docs

lint: .venv/.ready-check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/.ready-check
	@$(BIN)/mypy

contracts: .venv/.ready-check
	@$(BIN)/lint-imports --no-logo

# A warning is an error: a link that leads nowhere, a page that is in no table of contents.
docs: .venv/.ready-check
	@$(BIN)/sphinx-build -q -W --keep-going -j 2 -c docs -d build/doctrees . build/docs
	@echo 'documents: build/docs/docs/index.html'

format: .venv/.ready-check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.ready-demo
	@mkdir -p build
	@$(BIN)/governor bench --quick --json build/bench.json $(OPTIONS)
	@$(BIN)/python tools/bench_executor.py

clean:
	rm -rf .venv build dist *.egg-info workers/preload
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
