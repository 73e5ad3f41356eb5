"""Warn about demo passwords in use; fail if ENVIRONMENT=production.

docker-compose.yml runs it before all other containers, with the variables to check.
"""

import os
import sys

_LINE = "!" * 78


def main() -> int:
    """Return 0 if the containers may start."""
    demo = sorted(name for name, value in os.environ.items() if value.startswith("demo-"))
    if not demo:
        print("secrets: no demo password is in use.", flush=True)
        return 0
    production = os.environ.get("ENVIRONMENT") == "production"
    print(
        _LINE,
        "WARNING: these passwords are the public demo passwords:",
        *(f"  {name}" for name in demo),
        "They are acceptable on your own machine, where every port is on 127.0.0.1. Otherwise set",
        "them in .env (.env.example lists them) before the volumes are created.",
        *(["ENVIRONMENT is production: no container starts."] if production else []),
        _LINE,
        sep="\n",
        flush=True,
    )
    return 1 if production else 0


if __name__ == "__main__":
    sys.exit(main())
