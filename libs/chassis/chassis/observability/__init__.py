"""Logging, metrics and tracing: JSON logs, Prometheus metrics, OpenTelemetry spans."""
