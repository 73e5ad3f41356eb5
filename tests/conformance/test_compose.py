"""docker-compose.yml and the Dockerfiles keep to what docs/operations.md says of them.

Read by Compose itself (the docker-compose of the tools' environment), which needs no engine.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fleet.services import SERVICES as TABLE
from fleet.topics import RETENTION_DAYS, TOPICS
from tests.conformance.queries import ROOT

COMPOSE = Path(sys.executable).with_name("docker-compose")
OWN = [service.name for service in TABLE]
ONCE = {"secrets", "topics", "order-migrations", "inventory-migrations"}
OBSERVABILITY = {"prometheus", "grafana", "loki", "tempo", "alloy", "kafka-ui"}
IMAGE_BRINGS_ITS_CHECK = {"mailpit"}
PORTS = {
    **{service.name: [service.default_port] for service in TABLE},
    "api-gateway-2": [9001],
    "postgres": [5433],
    "mongodb": [27017],
    "kafka": [9092],
    "kafka-ui": [8090],
    "keycloak": [8081],
    "mailpit": [1025, 8025],
    "prometheus": [9090],
    "grafana": [3000],
    "loki": [3100],
    "tempo": [3200],
}
Service = dict[str, Any]


def read(*options: str, variables: Mapping[str, str] | None = None) -> dict[str, Service]:
    """The services as Compose understands the file, without this machine's own settings."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [str(COMPOSE), "--env-file", "/dev/null", *options, "config", "--format", "json"],
        cwd=ROOT,
        env={**environment, **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services: dict[str, Service] = json.loads(done.stdout)["services"]
    return services


@pytest.fixture(scope="module")
def whole() -> dict[str, Service]:
    return read()


@pytest.fixture(scope="module")
def scaled() -> dict[str, Service]:
    return read("--env-file", "docker/scale.env")


def environment(service: Service) -> dict[str, str]:
    return dict(service.get("environment") or {})


def test_all_that_the_platform_needs_is_there(whole: dict[str, Service]) -> None:
    assert set(whole) == {
        *OWN,
        *ONCE,
        *OBSERVABILITY,
        "postgres",
        "mongodb",
        "kafka",
        "keycloak",
    } | {"mailpit"}


def test_only_documented_ports_are_published_and_only_on_this_machine(
    scaled: dict[str, Service],
) -> None:
    for name, service in scaled.items():
        ports = service.get("ports") or []
        assert sorted(int(port["published"]) for port in ports) == sorted(PORTS.get(name, [])), name
        assert {port["host_ip"] for port in ports} <= {"127.0.0.1"}, name


def test_every_image_that_is_not_ours_has_an_exact_version(scaled: dict[str, Service]) -> None:
    for name, service in scaled.items():
        if "build" not in service:
            tag = service["image"].rpartition(":")[2]
            assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag), f"{name}: {service['image']}"


def test_what_stays_up_has_a_health_check_a_limit_and_comes_back(
    scaled: dict[str, Service],
) -> None:
    for name, service in scaled.items():
        assert int(service["mem_limit"]) > 0, name
        if name in ONCE:
            assert service["restart"] == "no", name
            continue
        assert service["restart"] == "unless-stopped", name
        check = service.get("healthcheck") or {}
        assert check.get("test") or name in IMAGE_BRINGS_ITS_CHECK, name


def test_the_memory_limits_sum_up_to_what_the_file_and_the_operations_page_say(
    whole: dict[str, Service], scaled: dict[str, Service]
) -> None:
    for services, folder in ((whole, "in all"), (scaled, "with `scale`")):
        limits = [int(s["mem_limit"]) for name, s in services.items() if name not in ONCE]
        total = sum(limits) // 2**20
        assert total < 7_500  # a laptop of 8 GB
        assert f"{total} MB {folder}" in (ROOT / "docker-compose.yml").read_text()
        assert f"{total} MB" in (ROOT / "docs/operations.md").read_text()


def test_whoever_waits_says_for_what(scaled: dict[str, Service]) -> None:
    for name, service in scaled.items():
        for other, how in (service.get("depends_on") or {}).items():
            expected = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert how["condition"] == expected, f"{name} on {other}"


def test_the_core_is_the_gateway_notification_and_what_they_need(whole: dict[str, Service]) -> None:
    """`docker compose up api-gateway notification-service` starts no observability."""
    core: set[str] = set()
    new = {"api-gateway", "notification-service"}
    while new:
        core |= new
        new = {other for name in new for other in whole[name].get("depends_on") or {}} - core
    assert core == set(whole) - OBSERVABILITY


def test_the_gateway_and_the_windows_have_no_way_to_the_data(scaled: dict[str, Service]) -> None:
    stores = {"postgres", "mongodb", "kafka", "kafka-ui"}
    for name, service in scaled.items():
        networks = set(service.get("networks") or {})
        if name in stores:
            assert networks == {"data"}, name
        if (
            name.startswith("api-gateway")
            or name in {*OBSERVABILITY, "keycloak", "mailpit"} - stores
        ):
            assert networks == {"edge"}, name


def test_a_service_runs_with_as_little_as_it_needs(scaled: dict[str, Service]) -> None:
    for name, service in scaled.items():
        if "build" in service:
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name


def test_both_fleets_give_a_service_the_same_settings(whole: dict[str, Service]) -> None:
    for service in TABLE:
        given = environment(whole[service.name])
        wanted = {*service.env, *service.defaults}
        assert not wanted - given.keys(), f"{service.name} lacks {wanted - given.keys()}"


def test_producers_are_idempotent_on_the_real_broker(scaled: dict[str, Service]) -> None:
    for name, service in scaled.items():
        assert environment(service).get("KAFKA_ENABLE_IDEMPOTENCE", "true") == "true", name


def test_a_token_of_the_published_keycloak_is_verified_inside_the_network(
    whole: dict[str, Service],
) -> None:
    """The issuer is the browser's URL; the keys are fetched where the container can reach them."""
    issuer = whole["keycloak"]["environment"]["KC_HOSTNAME"] + "/realms/microservices"
    for name in ("api-gateway", "order-service"):
        given = environment(whole[name])
        assert given["OIDC_ISSUER"] == issuer
        assert given["OIDC_JWKS_URL"].startswith("http://keycloak:8080/realms/microservices/")


def test_scale_adds_a_second_of_each_service_and_a_store_for_the_limits(
    whole: dict[str, Service], scaled: dict[str, Service]
) -> None:
    assert set(scaled) - set(whole) == {*(f"{name}-2" for name in OWN), "valkey"}
    for name in ("api-gateway", "api-gateway-2"):
        given = environment(scaled[name])
        assert given["RATE_LIMIT_STORAGE_URI"] == "redis://valkey:6379"
        for service in ("product", "order", "inventory", "ai"):
            urls = given[f"{service.upper()}_SERVICE_URL"].split(",")
            assert [url.split("//")[1].split(":")[0] for url in urls] == [
                f"{service}-service",
                f"{service}-service-2",
            ]


def test_prometheus_scrapes_every_replica_by_a_name_that_they_share(
    scaled: dict[str, Service],
) -> None:
    config = (ROOT / "docker/prometheus/prometheus.yml").read_text()
    for service in TABLE:
        alias = service.name.removesuffix("-service").removeprefix("api-")
        for replica in (service.name, f"{service.name}-2"):
            assert alias in scaled[replica]["networks"]["edge"]["aliases"]
        assert re.search(rf"job_name: {service.name}\b", config)
        assert re.search(rf"names: \[{alias}\], type: A, port: {service.default_port}\b", config)


def test_prometheus_shows_the_gateway_the_token_that_it_asks_for(whole: dict[str, Service]) -> None:
    token = environment(whole["api-gateway"])["METRICS_TOKEN"]
    assert environment(whole["prometheus"])["METRICS_TOKEN"] == token


def test_topics_have_partitions_and_a_retention() -> None:
    assert set(RETENTION_DAYS) == set(TOPICS)
    assert RETENTION_DAYS["mail-sent"] == 7
    assert all(days >= 7 for days in RETENTION_DAYS.values())


@pytest.mark.parametrize("name", OWN)
def test_an_image_says_what_it_was_built_from_and_its_base_can_be_pinned(name: str) -> None:
    given = {"VERSION": "1.2", "REVISION": "abc", "PYTHON_DIGEST": "@sha256:123"}
    assert read(variables=given)[name]["build"]["args"] == given
    assert read()[name]["build"]["args"] == dict(zip(given, ("dev", "unknown", ""), strict=True))
    lines = (ROOT / name / "Dockerfile").read_text().splitlines()
    for variable in given:
        assert [line for line in lines if line.startswith(f"ARG {variable}=")], variable
    label = 'org.opencontainers.image.{}="{}"'
    for key, value in {"title": name, "version": "${VERSION}", "revision": "${REVISION}"}.items():
        assert any(label.format(key, value) in line for line in lines), key


@pytest.mark.parametrize("name", OWN)
def test_a_dockerfile_is_short_two_staged_and_without_root(name: str) -> None:
    text = (ROOT / name / "Dockerfile").read_text()
    lines = text.splitlines()
    assert len(lines) <= 40
    assert sum(line.startswith("FROM python:3.12-slim${PYTHON_DIGEST}") for line in lines) == 2
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n +CMD \[", text, re.MULTILINE)
    assert re.search(r"^CMD \[", text, re.MULTILINE)
    assert "curl" not in text
    # What changes most comes last, so that a change of the code installs nothing again.
    assert text.index("pip install") < text.index("chassis ./chassis") < text.index("app ./app")


def test_the_secrets_check_warns_of_the_demo_and_refuses_it_in_production() -> None:
    def check(**variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "docker/secrets/check.py"]
        return subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False
        )

    warned = check(ENVIRONMENT="compose", MONGO_PASSWORD="demo-mongo", GRAFANA_PASSWORD="mine")
    assert warned.returncode == 0
    assert "WARNING" in warned.stdout
    assert "MONGO_PASSWORD" in warned.stdout
    assert "GRAFANA_PASSWORD" not in warned.stdout
    assert "demo-mongo" not in warned.stdout
    assert check(ENVIRONMENT="production", MONGO_PASSWORD="demo-mongo").returncode == 1
    assert check(ENVIRONMENT="production", MONGO_PASSWORD="mine").returncode == 0


def test_every_secret_with_a_default_is_looked_at_by_the_check(whole: dict[str, Service]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    with_default = set(re.findall(r"\$\{(\w+):-demo-", text))
    assert with_default <= environment(whole["secrets"]).keys()
    example = (ROOT / ".env.example").read_text()
    assert all(name in example for name in with_default)
