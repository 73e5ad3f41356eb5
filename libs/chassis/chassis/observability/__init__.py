"""Logging, metrics, access log and tracing."""
