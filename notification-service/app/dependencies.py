"""The dependencies of this service that /health/ready reports."""

from fastapi import FastAPI

from chassis.app.health import Dependency


def dependencies(app: FastAPI) -> tuple[Dependency, ...]:
    """Only Kafka is critical. Without the mail server mails wait; without Kafka none arrive."""
    return (
        Dependency("kafka", lambda: app.state.consumer.probe(), critical=True),
        Dependency("smtp", lambda: app.state.mailer.probe()),
    )
