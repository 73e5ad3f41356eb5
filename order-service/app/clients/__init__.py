"""Clients of the services that order-service calls."""
