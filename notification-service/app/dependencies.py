"""What this service depends on, as rows of /health/ready."""

from fastapi import FastAPI

from chassis.app.health import Dependency


def dependencies(app: FastAPI) -> tuple[Dependency, ...]:
    """Only Kafka is critical: without the mail server mails wait, without Kafka there are none."""
    return (
        Dependency("kafka", lambda: app.state.consumer.probe(), critical=True),
        Dependency("smtp", lambda: app.state.mailer.probe()),
    )
