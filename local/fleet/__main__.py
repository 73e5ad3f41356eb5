"""The command line: ``python -m fleet up``, ``down`` and so on; ``make help`` lists them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fleet.errors import FleetError
from fleet.launcher import control, launch
from fleet.launcher.addresses import show_addresses
from fleet.launcher.composition import Fleet
from fleet.launcher.settings import Settings
from fleet.terminal import complain, paint, say
from fleet.tools.dead_letters.options import add_dlq


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an expected failure is one sentence and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        return _run(Fleet(Settings.load()), options)
    except FleetError as error:
        complain(f"{paint('Error:', 'red')} {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # piped into head
        sys.stderr.close()
        return 0


def _run(fleet: Fleet, options: argparse.Namespace) -> int:
    match options.command:
        case "up" | "down" | "reset" as command:
            _whole_fleet(fleet, command, options.name)
        case "status":
            from fleet.launcher.status import status

            return status(fleet)
        case "logs":
            _logs(fleet, options)
        case "seed":
            from fleet.tools.seed import seed

            seed(fleet)
        case "token":
            answer = fleet.identity.log_in(options.user, options.password or options.user)
            say(answer["access_token"])
        case "doctor":
            from fleet.tools.doctor import doctor

            return doctor(fleet, options.token, options.user)
        case "traces":
            from fleet.tools.traces import show as show_trace

            show_trace(_traces_port(fleet), options.wanted)
        case "dlq":
            from fleet.tools.dead_letters.command import dlq

            dlq(fleet.kafka, options)
        case "demo":
            from fleet.tools.demo import demo

            demo(fleet, once=options.once)
        case command:
            getattr(control, command)(fleet, options.name)
    return 0


def _logs(fleet: Fleet, options: argparse.Namespace) -> None:
    from fleet.tools.logs import show, show_matching

    parts = [fleet.part_by_prefix(options.name)] if options.name else fleet.parts
    if options.trace:
        show_matching(parts, options.trace)
    else:
        show(parts, options.lines, follow=not options.no_follow)


def _whole_fleet(fleet: Fleet, command: str, name: str) -> None:
    """Run up, down or reset; refuse `make reset s=order-service`, which would reset everything."""
    if name:
        raise FleetError(
            f"{command} acts on the whole fleet and takes no s=. "
            "For one part: make restart, kill, pause or resume s=<name>."
        )
    getattr(launch, command)(fleet)
    if command == "up":
        show_addresses(fleet)


def _traces_port(fleet: Fleet) -> int:
    if fleet.traces is None:
        raise FleetError("Traces go to your own collector: OTEL_EXPORTER_OTLP_ENDPOINT names it.")
    return fleet.traces.port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fleet", description="The local fleet without Docker.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (
        ("up", "start what is not running, until everything answers"),
        ("down", "stop everything; the data stays"),
        ("reset", "stop everything and throw the data away"),
    ):
        whole = commands.add_parser(command, help=text)
        whole.add_argument("name", nargs="?", default="", help="refused: it acts on everything")
    commands.add_parser("status", help="a table of every process and what it needs")
    commands.add_parser("seed", help="fill the catalogue and its stock")
    demo = commands.add_parser("demo", help="start, order, show the mail, stay until Ctrl-C")
    demo.add_argument("--once", action="store_true", help="end after the mail")
    token = commands.add_parser("token", help="print an access token of a demo user")
    token.add_argument("user", nargs="?", default="alice")
    token.add_argument("-p", "--password", default="", help="the user's name unless told")
    doctor = commands.add_parser("doctor", help="does the gateway accept a token, and if not, why")
    doctor.add_argument("token", nargs="?", help="an access token; - reads it from stdin")
    doctor.add_argument("-u", "--user", default="", help="ask about a token of this demo user")
    logs = commands.add_parser("logs", help="follow the logs")
    logs.add_argument("name", nargs="?", default="", help="whose; all without a name")
    logs.add_argument("-n", "--lines", type=int, default=40, help="how many to begin with")
    logs.add_argument("--no-follow", action="store_true", help="end after those")
    logs.add_argument("-t", "--trace", default="", help="only lines with this trace id or text")
    traces = commands.add_parser("traces", help="print a trace as a tree")
    traces.add_argument("wanted", nargs="?", default="", help="order number or trace id")
    add_dlq(commands)
    for command, text in (
        ("dev", "run one service with its code watched, until Ctrl-C"),
        ("restart", "stop it if it runs, and start it"),
        ("kill", "kill -9"),
        ("pause", "SIGSTOP"),
        ("resume", "SIGCONT"),
    ):
        one = commands.add_parser(command, help=text)
        one.add_argument("name", nargs="?", default="", help="a service or a server")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
