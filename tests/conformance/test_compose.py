"""docker-compose.yml and the Dockerfiles match docs/operations.md.

The file is parsed by Compose itself (in the tools' environment), which needs no engine.
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
    """Return the services as parsed by Compose, without settings of this machine."""
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
def default_services() -> dict[str, Service]:
    return read()


@pytest.fixture(scope="module")
def scaled_services() -> dict[str, Service]:
    return read("--env-file", "docker/scale.env")


def environment(service: Service) -> dict[str, str]:
    return dict(service.get("environment") or {})


def test_compose_file_defines_all_services(default_services: dict[str, Service]) -> None:
    assert set(default_services) == {
        *OWN,
        *ONCE,
        *OBSERVABILITY,
        "postgres",
        "mongodb",
        "kafka",
        "keycloak",
    } | {"mailpit"}


def test_only_documented_ports_are_published_on_loopback(
    scaled_services: dict[str, Service],
) -> None:
    for name, service in scaled_services.items():
        ports = service.get("ports") or []
        assert sorted(int(port["published"]) for port in ports) == sorted(PORTS.get(name, [])), name
        assert {port["host_ip"] for port in ports} <= {"127.0.0.1"}, name


def test_every_third_party_image_has_exact_version(scaled_services: dict[str, Service]) -> None:
    for name, service in scaled_services.items():
        if "build" not in service:
            tag = service["image"].rpartition(":")[2]
            assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag), f"{name}: {service['image']}"


def test_long_running_container_has_health_check_limit_and_restart(
    scaled_services: dict[str, Service],
) -> None:
    for name, service in scaled_services.items():
        assert int(service["mem_limit"]) > 0, name
        if name in ONCE:
            assert service["restart"] == "no", name
            continue
        assert service["restart"] == "unless-stopped", name
        check = service.get("healthcheck") or {}
        assert check.get("test") or name in IMAGE_BRINGS_ITS_CHECK, name


def test_sum_of_memory_limits_equals_documented_sum(
    default_services: dict[str, Service], scaled_services: dict[str, Service]
) -> None:
    for services, folder in ((default_services, "in all"), (scaled_services, "with `scale`")):
        limits = [int(s["mem_limit"]) for name, s in services.items() if name not in ONCE]
        total = sum(limits) // 2**20
        assert total < 7_500  # fits a machine with 8 GB
        assert f"{total} MB {folder}" in (ROOT / "docker-compose.yml").read_text()
        assert f"{total} MB" in (ROOT / "docs/operations.md").read_text()


def test_depends_on_names_condition(scaled_services: dict[str, Service]) -> None:
    for name, service in scaled_services.items():
        for other, how in (service.get("depends_on") or {}).items():
            expected = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert how["condition"] == expected, f"{name} on {other}"


def test_core_is_gateway_notification_and_their_dependencies(
    default_services: dict[str, Service],
) -> None:
    """`docker compose up api-gateway notification-service` starts no observability."""
    core: set[str] = set()
    new = {"api-gateway", "notification-service"}
    while new:
        core |= new
        new = {
            other for name in new for other in default_services[name].get("depends_on") or {}
        } - core
    assert core == set(default_services) - OBSERVABILITY


def test_gateway_and_user_interfaces_are_not_in_data_network(
    scaled_services: dict[str, Service],
) -> None:
    stores = {"postgres", "mongodb", "kafka", "kafka-ui"}
    for name, service in scaled_services.items():
        networks = set(service.get("networks") or {})
        if name in stores:
            assert networks == {"data"}, name
        if (
            name.startswith("api-gateway")
            or name in {*OBSERVABILITY, "keycloak", "mailpit"} - stores
        ):
            assert networks == {"edge"}, name


def test_service_container_runs_with_least_privilege(scaled_services: dict[str, Service]) -> None:
    for name, service in scaled_services.items():
        if "build" in service:
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name


def test_compose_and_launcher_set_same_settings(default_services: dict[str, Service]) -> None:
    for service in TABLE:
        actual = environment(default_services[service.name])
        expected = {*service.env, *service.defaults}
        assert not expected - actual.keys(), f"{service.name} lacks {expected - actual.keys()}"


def test_producers_are_idempotent_in_compose(scaled_services: dict[str, Service]) -> None:
    for name, service in scaled_services.items():
        assert environment(service).get("KAFKA_ENABLE_IDEMPOTENCE", "true") == "true", name


def test_issuer_is_public_url_and_keys_are_fetched_inside_network(
    default_services: dict[str, Service],
) -> None:
    """The issuer is the public URL; the keys are fetched from an address inside the network."""
    issuer = default_services["keycloak"]["environment"]["KC_HOSTNAME"] + "/realms/microservices"
    for name in ("api-gateway", "order-service"):
        actual = environment(default_services[name])
        assert actual["OIDC_ISSUER"] == issuer
        assert actual["OIDC_JWKS_URL"].startswith("http://keycloak:8080/realms/microservices/")


def test_scale_profile_adds_replica_of_each_service_and_valkey(
    default_services: dict[str, Service], scaled_services: dict[str, Service]
) -> None:
    assert set(scaled_services) - set(default_services) == {
        *(f"{name}-2" for name in OWN),
        "valkey",
    }
    for name in ("api-gateway", "api-gateway-2"):
        actual = environment(scaled_services[name])
        assert actual["RATE_LIMIT_STORAGE_URI"] == "redis://valkey:6379"
        for service in ("product", "order", "inventory", "ai"):
            urls = actual[f"{service.upper()}_SERVICE_URL"].split(",")
            assert [url.split("//")[1].split(":")[0] for url in urls] == [
                f"{service}-service",
                f"{service}-service-2",
            ]


def test_prometheus_scrapes_replicas_by_shared_name(
    scaled_services: dict[str, Service],
) -> None:
    config = (ROOT / "docker/prometheus/prometheus.yml").read_text()
    for service in TABLE:
        alias = service.name.removesuffix("-service").removeprefix("api-")
        for replica in (service.name, f"{service.name}-2"):
            assert alias in scaled_services[replica]["networks"]["edge"]["aliases"]
        assert re.search(rf"job_name: {service.name}\b", config)
        assert re.search(rf"names: \[{alias}\], type: A, port: {service.default_port}\b", config)


def test_prometheus_sends_scrape_token_to_gateway(default_services: dict[str, Service]) -> None:
    token = environment(default_services["api-gateway"])["METRICS_TOKEN"]
    assert environment(default_services["prometheus"])["METRICS_TOKEN"] == token


def test_topics_have_partitions_and_retention() -> None:
    assert set(RETENTION_DAYS) == set(TOPICS)
    assert RETENTION_DAYS["mail-sent"] == 7
    assert all(days >= 7 for days in RETENTION_DAYS.values())


@pytest.mark.parametrize("name", OWN)
def test_image_has_revision_labels_and_pinnable_base(name: str) -> None:
    actual = {"VERSION": "1.2", "REVISION": "abc", "PYTHON_DIGEST": "@sha256:123"}
    assert read(variables=actual)[name]["build"]["args"] == actual
    assert read()[name]["build"]["args"] == dict(zip(actual, ("dev", "unknown", ""), strict=True))
    lines = (ROOT / name / "Dockerfile").read_text().splitlines()
    for variable in actual:
        assert [line for line in lines if line.startswith(f"ARG {variable}=")], variable
    label = 'org.opencontainers.image.{}="{}"'
    for key, value in {"title": name, "version": "${VERSION}", "revision": "${REVISION}"}.items():
        assert any(label.format(key, value) in line for line in lines), key


@pytest.mark.parametrize("name", OWN)
def test_dockerfile_has_two_stages_and_non_root_user(name: str) -> None:
    text = (ROOT / name / "Dockerfile").read_text()
    lines = text.splitlines()
    assert len(lines) <= 40
    assert sum(line.startswith("FROM python:3.12-slim${PYTHON_DIGEST}") for line in lines) == 2
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n +CMD \[", text, re.MULTILINE)
    assert re.search(r"^CMD \[", text, re.MULTILINE)
    assert "curl" not in text
    # Layers that change often come last, so that a code change does not reinstall packages.
    assert text.index("pip install") < text.index("chassis ./chassis") < text.index("app ./app")


def test_secrets_check_warns_of_demo_secrets_and_fails_in_production() -> None:
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


def test_secrets_check_covers_every_secret_with_default(
    default_services: dict[str, Service],
) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    with_default = set(re.findall(r"\$\{(\w+):-demo-", text))
    assert with_default <= environment(default_services["secrets"]).keys()
    example = (ROOT / ".env.example").read_text()
    assert all(name in example for name in with_default)
