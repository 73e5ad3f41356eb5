"""The arguments of ``python -m fleet dlq``. ``make dlq a="..."`` hands its own on."""

from __future__ import annotations

import argparse
from typing import Any

RATE = 10.0
_EXAMPLES = """examples, as make takes them:
  make dlq                                                what is still open
  make dlq a="list order-placed --all"                    what is done, too
  make dlq a="show order-placed 2:17"                     one, with its headers and its value
  make dlq a="replay order-placed"                        what would be replayed
  make dlq a="replay order-placed --yes"                  replay it
  make dlq a="replay order-placed --error Refused --yes"  those with this error class
  make dlq a="replay order-placed 2:17 0:3 --yes"         these two
  make dlq a="drop order-placed 2:17 --yes"               done with it, without a replay
"""


def add_dlq(commands: Any) -> None:
    """Add the command with its sub-commands to the launcher's."""
    text = "list, show, replay and drop dead letters"
    dlq = commands.add_parser(
        "dlq",
        help=text,
        description=f"{text.capitalize()}, at KAFKA_BOOTSTRAP_SERVERS or else this fleet's broker.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    dlq.set_defaults(topic="", all=False, limit=100, group="", error="")
    actions = dlq.add_subparsers(dest="action")
    _add_list(actions)
    show = actions.add_parser("show", help="one letter with its headers and its value")
    show.add_argument("topic")
    show.add_argument("place", help="partition:offset, as the list shows it")
    replay = actions.add_parser("replay", help="send letters again, each to one consumer group")
    _add_choice(replay)
    replay.add_argument("--to", default="", metavar="GROUP", help="not the group that buried it")
    replay.add_argument(
        "--rate", type=_rate, default=RATE, help=f"letters a second at most ({RATE:.0f})"
    )
    _add_choice(actions.add_parser("drop", help="mark letters as done without sending them"))


def _add_list(actions: Any) -> None:
    listing = actions.add_parser("list", help="the open letters, latest last")
    listing.add_argument("topic", nargs="?", default="", help="order-placed; all without it")
    listing.add_argument("--all", action="store_true", help="those that are done, too")
    listing.add_argument("--limit", type=_limit, default=100, help="rows at most (100)")
    _add_filters(listing)


def _add_choice(parser: Any) -> None:
    parser.add_argument("topic", help="order-placed, or order-placed.dlq")
    parser.add_argument(
        "places", nargs="*", metavar="partition:offset", help="only these; all open without one"
    )
    _add_filters(parser)
    parser.add_argument("--yes", action="store_true", help="do it; without, it is only shown")


def _add_filters(parser: Any) -> None:
    parser.add_argument("--error", default="", metavar="CLASS", help="only with this error class")
    parser.add_argument("--group", default="", help="only those that this group has buried")


def _limit(text: str) -> int:
    limit = int(text)
    if limit < 1:
        raise argparse.ArgumentTypeError("rows at most, 1 or more")
    return limit


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= 10_000:
        raise argparse.ArgumentTypeError("letters a second, more than 0, at most 10000")
    return rate
