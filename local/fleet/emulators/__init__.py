"""Servers of our own that replace Keycloak, Mailpit, Kafka UI and Tempo where Docker is missing."""
