"""The scenarios of `make bench`, one module for each part."""
