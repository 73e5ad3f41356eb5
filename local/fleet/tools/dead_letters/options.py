"""Arguments of ``python -m fleet dlq``; ``make dlq a="..."`` passes them on."""

from __future__ import annotations

import argparse
from typing import Any

RATE = 10.0
_EXAMPLES = """examples:
  make dlq                                                list open dead letters
  make dlq a="list order-placed --all"                    list also replayed and dropped ones
  make dlq a="show order-placed 2:17"                     show one with headers and value
  make dlq a="replay order-placed"                        show the plan of a replay
  make dlq a="replay order-placed --yes"                  replay all open ones of the topic
  make dlq a="replay order-placed --error Refused --yes"  only those with this error class
  make dlq a="replay order-placed 2:17 0:3 --yes"         only these two
  make dlq a="drop order-placed 2:17 --yes"               mark one as done without a replay
"""


def add_dlq(commands: Any) -> None:
    """Add the command ``dlq`` and its sub-commands."""
    text = "list, show, replay and drop dead letters"
    dlq = commands.add_parser(
        "dlq",
        help=text,
        description=f"{text.capitalize()}. Broker: KAFKA_BOOTSTRAP_SERVERS, else the fleet's.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    dlq.set_defaults(topic="", all=False, limit=100, group="", error="")
    actions = dlq.add_subparsers(dest="action")
    _add_list(actions)
    show = actions.add_parser("show", help="show one dead letter with its headers and value")
    show.add_argument("topic")
    show.add_argument("place", help="partition:offset, as shown by the list")
    replay = actions.add_parser("replay", help="send dead letters again to one consumer group")
    _add_choice(replay)
    replay.add_argument(
        "--to", default="", metavar="GROUP", help="default: the group that gave up the message"
    )
    replay.add_argument("--rate", type=_rate, default=RATE, help=f"maximum per second ({RATE:.0f})")
    _add_choice(actions.add_parser("drop", help="mark dead letters as done without a replay"))


def _add_list(actions: Any) -> None:
    listing = actions.add_parser("list", help="list open dead letters, latest last")
    listing.add_argument("topic", nargs="?", default="", help="such as order-placed; default: all")
    listing.add_argument("--all", action="store_true", help="include replayed and dropped ones")
    listing.add_argument("--limit", type=_limit, default=100, help="maximum number of rows (100)")
    _add_filters(listing)


def _add_choice(parser: Any) -> None:
    parser.add_argument("topic", help="order-placed, or order-placed.dlq")
    parser.add_argument(
        "places", nargs="*", metavar="partition:offset", help="default: all open dead letters"
    )
    _add_filters(parser)
    parser.add_argument("--yes", action="store_true", help="execute; the default shows the plan")


def _add_filters(parser: Any) -> None:
    parser.add_argument("--error", default="", metavar="CLASS", help="only with this error class")
    parser.add_argument("--group", default="", help="only those of this consumer group")


def _limit(text: str) -> int:
    limit = int(text)
    if limit < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return limit


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= 10_000:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 10000 per second")
    return rate
