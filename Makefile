# make solve   install, then search on the embedded digits: a front as a table, a picture and files
# make test    install, then run every test
# make lint    ruff and mypy
# make native-test   the C library's own tests, under two sanitizers, with gcc and clang
# make fuzz    5,000 command lines drawn from the commands' own parsers; SEED=7 draws others
# make bench   every benchmark, one thread; each first checks that results are equal
# make mutants  what the tests do not notice: hours of all cores; MODULES="archive journal" for some, JOBS=1 for one core

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
JOBS ?= 2
SEED ?= 1
INSTALLED = $(VENV)/.installed

.PHONY: solve test lint native-test fuzz bench mutants clean

solve: $(INSTALLED)
	$(RUN) -m opt.solve problems/ecomp.py --algo nsga2 --seed 1

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist loadgroup

lint: $(INSTALLED)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

native-test:
	$(MAKE) -C native check

fuzz: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN) tests/conformance/command_fuzzer.py --n 5000 --seed $(SEED)

bench: $(INSTALLED)
	@for file in benchmarks/*.py; do echo "== $$file"; OMP_NUM_THREADS=1 $(RUN) $$file || exit 1; done

mutants: $(INSTALLED)
	$(RUN) -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[mutants]'
	nice $(RUN) tests/mutation/run.py --jobs $(JOBS) $(MODULES)

$(INSTALLED): pyproject.toml setup.py constraints.txt native/_build.py $(shell find native/include native/src -name '*.[ch]')
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[test]'
	@touch $@

clean:
	$(MAKE) -C native clean
	rm -rf native/*.so
	rm -rf $(VENV) build mutants *.egg-info .pytest_cache .mypy_cache .ruff_cache
