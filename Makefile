# make demo: set up, make the demo's videos, run the five steps over them, show the results.
# make test: set up and run the tests, but for those marked slow.
# make test-all: run all of them.
# make bench: measure speed and memory over the demo's videos (about an hour).

PYTHON ?= python3
VENV := .trace_env
RUN := $(CURDIR)/$(VENV)/bin/python
STEP := cd demo && $(RUN) $(CURDIR)

.PHONY: setup demo test test-all bench clean
setup: $(VENV)/ready

$(VENV)/ready: trace_env.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS) -r trace_env.txt
	touch $@

demo: setup
	$(RUN) -m benchmarks.demo_data
	$(STEP)/step1_source_video2some_frames.py
	$(STEP)/step2_get_source_frames_back.py
	$(STEP)/step3_get_fake_frames_back.py
	$(STEP)/step4_scene_trace.py
	$(STEP)/step5_flow_trace.py
	$(RUN) -m benchmarks.evaluate --traces demo/step5_flow_trace/traces.csv --truth demo/truth.csv
	@echo "report: demo/step5_flow_trace/report.html"

test: setup
	$(RUN) -m pytest -q -m "not slow" tests

test-all: setup
	$(RUN) -m pytest -q tests

bench: demo
	$(RUN) -m benchmarks.speed --truth demo/truth.csv

clean:
	rm -rf $(VENV) demo
