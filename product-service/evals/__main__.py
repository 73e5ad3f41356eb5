"""Run the evaluation of the search (`make eval`)."""

import sys

from evals.scorer import below_floor, play, scores, sets, table


def main() -> int:
    """Print the scores. Return 0 if none is below its floor."""
    results = play(sets())
    print(table(results))  # noqa: T201
    low = below_floor(scores(results))
    print(f"below the floor: {', '.join(low) or 'none'}")  # noqa: T201
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
