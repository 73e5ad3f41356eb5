# Everything that is done with this repository; `make help` lists it.
# The logic is in local/: bootstrap.py makes the environments, the fleet package starts the servers.

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

BOOTSTRAP = @python=$$(PYTHON="$(PYTHON)" sh local/find-python.sh) && "$$python" local/bootstrap.py
PY = .venv/bin/python
FLEET = $(PY) -m fleet

##@ See it work

.PHONY: demo up down reset status logs traces dlq seed token doctor
demo: setup  ## Start everything, place an order, show its mail; stays until Ctrl-C (once=1: ends)
	@$(FLEET) demo $(if $(once),--once)

up: setup  ## Start what is not running, until every API answers
	@$(FLEET) up $(s)

down: tools  ## Stop everything; the data stays
	@$(FLEET) down $(s)

reset: tools  ## Stop everything and throw all local data away
	@$(FLEET) reset $(s)

status: tools  ## Show every process and what each service needs
	@$(FLEET) status

logs: tools  ## Follow the logs: s=order-service, n=40 lines to begin with; t=<trace id>: a request in all logs
	@$(FLEET) logs $(s) $(if $(n),-n $(n)) $(if $(t),-t "$(t)")

traces: tools  ## Print the latest order's way through all services (t=an order's number or a trace's id)
	@$(FLEET) traces $(t)

dlq: tools  ## Open dead letters; a="replay order-placed --yes" replays them, a=-h tells the rest
	@$(FLEET) dlq $(a)

seed: tools  ## Fill the catalogue and its stock (40 products; a second time changes nothing)
	@$(FLEET) seed

token:  ## Print an access token: u=alice (else bob, admin; p=... if the password is not the name)
	$(BOOTSTRAP) .venv >&2
	@$(FLEET) token $(if $(u),"$(u)") $(if $(p),-p "$(p)")

doctor: setup  ## Why is a token refused? token=... or u=alice (without: does the gateway fit its provider?)
	@$(FLEET) doctor $(if $(u),-u "$(u)") $(if $(token),"$(token)")

##@ Break it (s=<whole name> of a service or server: kafka, postgres, mongo, mailbox, identity, ...)

.PHONY: restart kill pause resume
restart: tools  ## Stop it if it runs, and start it
	@$(FLEET) restart $(s)

kill: tools  ## kill -9
	@$(FLEET) kill $(s)

pause: tools  ## Stop it in the middle of what it does (SIGSTOP)
	@$(FLEET) pause $(s)

resume: tools  ## Let it go on (SIGCONT)
	@$(FLEET) resume $(s)

.PHONY: judge
judge: setup-dev  ## Break it under load, then check every store: SEED=7 DURATION=60 (CLIENTS, FAULTS, REPLICAS, TARGET)
	@$(PY) -m tests.judge $(if $(SEED),--seed $(SEED)) $(if $(DURATION),--duration $(DURATION)) \
		$(if $(CLIENTS),--clients $(CLIENTS)) $(if $(FAULTS),--faults $(FAULTS)) \
		$(if $(REPLICAS),--replicas $(REPLICAS)) $(if $(TARGET),--target $(TARGET))

##@ Work on it

.PHONY: dev check contracts audit test test-keycloak e2e mutants bench deploy setup setup-dev lock clean
dev: setup  ## Watch a service's code, and its log: each change starts it anew, in the fleet (s=order-service)
	@$(FLEET) dev $(s)

check: setup-dev  ## Lint, format, types, structure, contracts, secrets, alert rules, known vulnerabilities
	@$(PY) -m checks

contracts: setup-dev  ## Write down each service's API as it is; refuses what would break a caller
	@$(PY) -m checks.contracts write

audit: setup-dev  ## Known vulnerabilities of all pinned requirements (fails where nobody can be asked)
	@$(PY) -m checks.audit

test: setup-dev  ## All tests: libraries, launcher, services, end to end (s=order-service: only those)
	@$(PY) local/run_tests.py $(s)

test-keycloak: setup-dev  ## The identity tests on a real Keycloak: KEYCLOAK_URL=http://localhost:8081
	@test -n "$(KEYCLOAK_URL)" || { echo "Say which: make test-keycloak KEYCLOAK_URL=http://localhost:8081" \
		"(it must have imported docker/keycloak/realm-export.json, with that URL as its hostname)" >&2; exit 1; }
	@TEST_KEYCLOAK_URL="$(KEYCLOAK_URL)" $(PY) -m pytest -q tests/identity

e2e: setup-dev  ## The whole fleet's tests: on embedded servers, or TARGET=compose on the stack in Docker
	@$(if $(filter compose,$(TARGET)),E2E_TARGET=compose TEST_KEYCLOAK_URL=http://localhost:$${KEYCLOAK_PORT:-8081}) \
		$(PY) -m pytest -q tests/e2e tests/inputs $(if $(filter compose,$(TARGET)),$(ON_DOCKER))
ON_DOCKER = tests/compose tests/identity -m 'not local'

mutants: setup-dev  ## Plant deliberate defects one by one; a test must catch each (m=NAME: only that one)
	@$(PY) -m tests.mutants $(m)

deploy: tools  ## A version to DEPLOY_HOST=user@host: VERSION=1.2.0 IMAGE_PREFIX=... (apply=1: does it, else prints it)
	@$(PY) local/deploy.py $(if $(apply),--apply)

bench: setup-dev  ## Measure it, and check the state afterwards: ONLY="orders mails" SECONDS=5 SOAK=10 PROFILE=...
	@$(PY) -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(filter command,$(origin SECONDS)),--seconds $(SECONDS)) \
		$(if $(SOAK),--soak $(SOAK)) $(if $(PROFILE),--profile $(PROFILE))

setup:  ## Make the environments that running needs (done by the others when needed)
	$(BOOTSTRAP)

setup-dev:  ## Make the environments with the tools of tests and checks
	$(BOOTSTRAP) --dev

lock: tools  ## Pin all requirements again (upgrade=1: to the newest allowed)
	@$(PY) local/lock.py $(if $(upgrade),--upgrade)

clean:  ## Remove all environments and caches
	@rm -rf .venv */venv libs/*/venv .mypy_cache .ruff_cache .pytest_cache */.mypy_cache \
		*/.pytest_cache libs/*/.mypy_cache libs/*/.pytest_cache

.PHONY: tools help
tools:
	$(BOOTSTRAP) .venv

help:  ## This list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile
