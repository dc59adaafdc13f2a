# make demo: set up, make the demo's videos, run the five steps over them, show the results.
# make trace DIR=folder: set up, run the five steps over its source_data/ and fake_data/.
# make test: set up and run the tests, but for those marked slow.
# make test-all: run all of them.
# make bench: measure speed and memory over the demo's videos (about an hour).

PYTHON ?= python3
VENV := .trace_env
RUN := $(CURDIR)/$(VENV)/bin/python
STEPS := $(sort $(wildcard step?_*.py))
# files of tests side by side, in their order: the long ones are not the last
TEST := "$(RUN)" -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
DIR ?= demo

.PHONY: setup demo trace test test-all bench clean
setup: $(VENV)/ready

$(VENV)/ready: trace_env.txt
	$(PYTHON) -m venv $(VENV)
	"$(RUN)" -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS) -r trace_env.txt
	touch $@

demo: setup
	"$(RUN)" -m benchmarks.demo_data
	cd demo && for step in $(STEPS); do "$(RUN)" "$(CURDIR)/$$step" || exit; done
	"$(RUN)" -m benchmarks.evaluate --traces demo/step5_flow_trace/traces.csv --truth demo/truth.csv

# a step that could not read some of the videos ends with 1: the others go on
trace: setup
	cd "$(DIR)" && for step in $(STEPS); do "$(RUN)" "$(CURDIR)/$$step" || [ $$? -eq 1 ] || exit 2; done

test: setup
	$(TEST) -m "not slow" tests

test-all: setup
	$(TEST) tests

bench: demo
	"$(RUN)" -m benchmarks.speed --truth demo/truth.csv

clean:
	rm -rf $(VENV) demo
