# All commands of this repository; `make help` lists them.
# local/bootstrap.py creates the environments, the package local/fleet starts servers and services.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

BOOTSTRAP = @python=$$(PYTHON="$(PYTHON)" sh local/find-python.sh) && "$$python" local/bootstrap.py
PY = .venv/bin/python
FLEET = $(PY) -m fleet

##@ Run

.PHONY: demo up down reset status logs traces dlq seed import export token doctor
demo: setup  ## Start all parts, place an order, show its mail; runs until Ctrl-C (once=1: stops then)
	@$(FLEET) demo $(if $(once),--once)

up: setup  ## Start all stopped servers and services, and wait until they are ready
	@$(FLEET) up $(s)

down: tools  ## Stop all servers and services; keep the data
	@$(FLEET) down $(s)

reset: tools  ## Stop all servers and services; delete the data
	@$(FLEET) reset $(s)

status: tools  ## Show all processes, and the dependencies of each service
	@$(FLEET) status

logs: tools  ## Follow the logs: s=order-service, n=40 earlier lines, t=<trace id> for one request
	@$(FLEET) logs $(s) $(if $(n),-n $(n)) $(if $(t),-t "$(t)")

traces: tools  ## Print the trace of the latest order (t=<order number> or t=<trace id>)
	@$(FLEET) traces $(t)

dlq: tools  ## List open dead letters; a="replay order-placed --yes" replays them, a=-h prints the help
	@$(FLEET) dlq $(a)

seed: tools  ## Create 40 demo products and their stock; idempotent
	@$(FLEET) seed

import: tools  ## Import a catalogue and its stock: FILE=catalogue.csv (also .json, .ndjson; WooCommerce, Shopify)
	@$(FLEET) import "$(or $(FILE),$(error Name the file: make import FILE=catalogue.csv))"

export: tools  ## Write all products to FILE=catalogue.ndjson
	@$(FLEET) export "$(or $(FILE),$(error Name the file: make export FILE=catalogue.ndjson))"

token:  ## Print an access token of u=alice, bob or admin (p=... if the password is not the name)
	$(BOOTSTRAP) .venv >&2
	@$(FLEET) token $(if $(u),"$(u)") $(if $(p),-p "$(p)")

doctor: setup  ## Explain why a token is refused: token=... or u=alice (without: check the settings)
	@$(FLEET) doctor $(if $(u),-u "$(u)") $(if $(token),"$(token)")

##@ Inject faults (s=<name> of a service or server: kafka, postgres, mongo, mailbox, identity, ...)

.PHONY: restart kill pause resume
restart: tools  ## Stop and start one part
	@$(FLEET) restart $(s)

kill: tools  ## Kill one part (SIGKILL)
	@$(FLEET) kill $(s)

pause: tools  ## Pause one part (SIGSTOP)
	@$(FLEET) pause $(s)

resume: tools  ## Resume one part (SIGCONT)
	@$(FLEET) resume $(s)

.PHONY: judge
judge: setup-dev  ## Inject faults under load, then check all data: SEED=7 DURATION=60 (CLIENTS, FAULTS, REPLICAS, TARGET)
	@$(PY) -m tests.judge $(if $(SEED),--seed $(SEED)) $(if $(DURATION),--duration $(DURATION)) \
		$(if $(CLIENTS),--clients $(CLIENTS)) $(if $(FAULTS),--faults $(FAULTS)) \
		$(if $(REPLICAS),--replicas $(REPLICAS)) $(if $(TARGET),--target $(TARGET))

##@ Develop

.PHONY: dev check contracts audit test test-keycloak e2e mutants bench deploy setup setup-dev lock clean
dev: setup  ## Restart a service on each change of its code, and print its log (s=order-service)
	@$(FLEET) dev $(s)

check: setup-dev  ## Run all static checks: lint, format, types, structure, contracts, secrets, alert rules
	@$(PY) -m checks

contracts: setup-dev  ## Write the OpenAPI snapshots; refuses a change that breaks a caller
	@$(PY) -m checks.contracts write

audit: setup-dev  ## Search for known vulnerabilities of all pinned requirements
	@$(PY) -m checks.audit

test: setup-dev  ## Run all tests (s=order-service: only that suite)
	@$(PY) local/run_tests.py $(s)

test-keycloak: setup-dev  ## Run the identity tests on Keycloak: KEYCLOAK_URL=http://localhost:8081
	@test -n "$(KEYCLOAK_URL)" || { echo "Set the URL: make test-keycloak KEYCLOAK_URL=http://localhost:8081" \
		"(Keycloak must have imported docker/keycloak/realm-export.json and use that URL as hostname)" >&2; exit 1; }
	@TEST_KEYCLOAK_URL="$(KEYCLOAK_URL)" $(PY) -m pytest -q tests/identity

e2e: setup-dev  ## Run the end-to-end tests, on embedded servers or with TARGET=compose on Docker
	@$(if $(filter compose,$(TARGET)),E2E_TARGET=compose TEST_KEYCLOAK_URL=http://localhost:$${KEYCLOAK_PORT:-8081}) \
		$(PY) -m pytest -q tests/e2e tests/inputs $(if $(filter compose,$(TARGET)),$(ON_DOCKER))
ON_DOCKER = tests/compose tests/identity -m 'not local'

mutants: setup-dev  ## Apply deliberate defects one by one; a test must detect each (m=<name>: only that one)
	@$(PY) -m tests.mutants $(m)

deploy: tools  ## Print the deployment of VERSION=1.2.0 IMAGE_PREFIX=... to DEPLOY_HOST=user@host (apply=1: deploy)
	@$(PY) local/deploy.py $(if $(apply),--apply)

bench: setup-dev  ## Run the benchmarks, then check the data: ONLY="orders mails" SECONDS=5 SOAK=10 PROFILE=...
	@$(PY) -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(filter command,$(origin SECONDS)),--seconds $(SECONDS)) \
		$(if $(SOAK),--soak $(SOAK)) $(if $(PROFILE),--profile $(PROFILE))

setup:  ## Create the environments for running (other targets do it when needed)
	$(BOOTSTRAP)

setup-dev:  ## Create the environments for tests and checks
	$(BOOTSTRAP) --dev

lock: tools  ## Pin all requirements again (upgrade=1: to the newest allowed versions)
	@$(PY) local/lock.py $(if $(upgrade),--upgrade)

clean:  ## Remove all environments and caches
	@rm -rf .venv */venv libs/*/venv .mypy_cache .ruff_cache .pytest_cache */.mypy_cache \
		*/.pytest_cache libs/*/.mypy_cache libs/*/.pytest_cache

.PHONY: tools help
tools:
	$(BOOTSTRAP) .venv

help:  ## Print this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
