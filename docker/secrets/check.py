"""Says loudly which passwords are still the demo's; refuses them where ENVIRONMENT=production.

Run by docker-compose.yml before everything else, with the variables that it is to look at.
"""

import os
import sys

_LINE = "!" * 78


def main() -> int:
    """0 when everything may start."""
    demo = sorted(name for name, value in os.environ.items() if value.startswith("demo-"))
    if not demo:
        print("secrets: none of the demo's passwords is in use.", flush=True)
        return 0
    production = os.environ.get("ENVIRONMENT") == "production"
    print(
        _LINE,
        "WARNING: these are the demo's, and everybody knows them:",
        *(f"  {name}" for name in demo),
        "Good enough on your own machine, where every port is on 127.0.0.1. For anything else set",
        "them in .env (.env.example lists them) before the volumes are made.",
        *(["ENVIRONMENT is production: nothing is started."] if production else []),
        _LINE,
        sep="\n",
        flush=True,
    )
    return 1 if production else 0


if __name__ == "__main__":
    sys.exit(main())
