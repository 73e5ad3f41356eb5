"""The embedded servers: real ones, over their real wire protocols, installed from PyPI."""
