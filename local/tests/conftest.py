"""The local fleet's own tests use its own plugin."""

pytest_plugins = ["fleet.testing"]
