"""Clients of the fleet's servers for the launcher, its tools and tests."""
