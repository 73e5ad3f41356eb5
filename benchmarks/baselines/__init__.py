"""Minimal programs that the platform is compared with."""
