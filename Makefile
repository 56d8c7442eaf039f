# `make demo` trains and samples the demo cascade; `make test` runs the tests. Both set up .venv first (idempotent).
VENV ?= .venv
ENV ?=
BIN := $(VENV)/bin
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := 1

.PHONY: help setup demo test test-accidents test-inputs test-few-accidents check docs viz ui clean bench benchgpu benchgpu-wheels test-gpu
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: constraints.txt pyproject.toml packaging/setup.sh packaging/build-requirements.txt packaging/startup.py
	VENV=$(VENV) packaging/setup.sh

setup: $(VENV)/.ready ## create .venv with everything in it

demo: $(VENV)/.ready ## train the four demo models, sample the cascade, score it, write the report (ENV=test: toy models)
	@echo "kedro run --pipeline=cascade$(if $(ENV), --env=$(ENV))"
	@$(BIN)/kedro run --pipeline=cascade $(if $(ENV),--env=$(ENV))
	@echo "Report:  data/$(if $(ENV),env/$(ENV)/)08_reporting/report.html"
	@echo "Runs:    $(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db      DAG: $(BIN)/kedro viz"

test: $(VENV)/.ready ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slurm: $(VENV)/.ready ## run the tests of `kedro slurm` on a real Slurm cluster of two nodes on this machine (installs Slurm)
	packaging/slurm/with-cluster $(BIN)/python -m pytest -x tests/deployment/test_slurm_cluster.py

test-airflow: $(VENV)/.ready ## run the generated DAG on Airflow 3, which goes into an environment of its own
	[ -x .venv-airflow/bin/airflow ] || { $(BIN)/python -m venv .venv-airflow && .venv-airflow/bin/pip install -q apache-airflow==3.3.2; }
	AIRFLOW=$(CURDIR)/.venv-airflow/bin/airflow $(BIN)/python -m pytest -x tests/deployment/test_airflow_engine.py

test-s3: $(VENV)/.ready ## run two clones that share git, an S3 bucket and an MLflow server; moto's server goes into an environment of its own
	[ -x .venv-moto/bin/moto_server ] || { $(BIN)/python -m venv .venv-moto && .venv-moto/bin/pip install -q 'moto[server]==5.2.5'; }
	$(BIN)/python -m pip install -q -c constraints.txt dvc-s3
	MOTO_SERVER=$(CURDIR)/.venv-moto/bin/moto_server $(BIN)/python -m pytest -x tests/deployment/test_no_shared_folder.py

test-few-accidents: $(VENV)/.ready ## a few accidents, from both doors (three minutes; CI runs them)
	$(BIN)/python tests/accidents/accidents.py --few --seconds 8

test-accidents: $(VENV)/.ready ## kill, edit, lock and fill from both doors; writes the table of docs/staleness.md (an hour)
	$(BIN)/python -m pytest -m slow tests
	$(BIN)/python tests/accidents/accidents.py --table accidents.md

test-inputs: $(VENV)/.ready ## give every wrong input to the real command line: each must get one sentence (half an hour)
	$(BIN)/python -m pytest -n 2 -m 'slow or not slow' tests/inputs

check: $(VENV)/.ready ## lint, types, directions of imports, and dvc.yaml against the pipeline
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	for env in base imagenet test; do $(BIN)/kedro dvc-yaml --check --env=$$env || exit 1; done

# Without -q, which would hide the warnings from `strict`.
docs: $(VENV)/.ready ## build the documentation site into .site, with strict links
	PYTHONPATH=src NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

bench: $(VENV)/.ready ## training and loader speed on the CPU (GUIDED=checkout of guided-diffusion to compare with it)
	$(BIN)/python benchmarks/training.py $(if $(GUIDED),--guided $(GUIDED))
	$(BIN)/python benchmarks/loader.py

# A machine with a GPU needs PyTorch 2.11 or later and no more: PYTHON is its interpreter, and WHEELS the folder that
# `make benchgpu-wheels` filled on a machine with a network. Wheels are zip files, so pip is not needed there.
PYTHON ?= $(if $(WHEELS),python3,$(BIN)/python)
benchgpu: $(if $(WHEELS),,$(VENV)/.ready) ## speed on one GPU at the paper's sizes, in under eight minutes (GUIDED, WHEELS, MODELS, TOY=1)
	[ -z "$(WHEELS)" ] || for wheel in $(WHEELS)/*.whl; do $(PYTHON) -m zipfile -e $$wheel .benchgpu/site; done
	PYTHONPATH=src:.benchgpu/site $(PYTHON) benchmarks/gpu_suite.py $(if $(GUIDED),--guided $(GUIDED)) $(if $(MODELS),--models $(MODELS)) $(if $(TOY),--toy)

test-gpu: $(if $(WHEELS),,$(VENV)/.ready) ## the tests that need a GPU (WHEELS: on a machine that has PyTorch, pytest and little else)
	PYTHONPATH=src:.benchgpu/site $(PYTHON) -m pytest -m gpu tests/gpu

benchgpu-wheels: ## fill .benchgpu/wheels for `make benchgpu WHEELS=…` on a machine without network (VERSION=312)
	$(BIN)/python -m pip download -q --no-deps --only-binary=:all: --platform=manylinux_2_28_x86_64 \
	  --platform=manylinux2014_x86_64 --python-version=$(or $(VERSION),312) -d .benchgpu/wheels \
	  -r packaging/benchgpu-requirements.txt

viz: $(VENV)/.ready ## open the DAG
	$(BIN)/kedro viz run

ui: $(VENV)/.ready ## open the MLflow UI
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db

clean: ## remove the virtual environment (data and runs stay)
	rm -rf $(VENV)
