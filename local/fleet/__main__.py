"""The command line ``python -m fleet``; ``make help`` lists the commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fleet.errors import FleetError
from fleet.launcher import control, start_stop
from fleet.launcher.addresses import show_addresses
from fleet.launcher.composition import Fleet
from fleet.launcher.settings import Settings
from fleet.terminal import complain, paint, say
from fleet.tools.dead_letters.options import add_dlq


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Print an expected failure as one sentence and return 1."""
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
        case "seed" | "import" | "export":
            return _catalogue(fleet, options)
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


def _catalogue(fleet: Fleet, options: argparse.Namespace) -> int:
    """Fill or export the catalogue. Return the exit status."""
    if options.command == "seed":
        from fleet.tools.seed import seed

        seed(fleet)
        return 0
    from fleet.tools import import_catalogue

    return import_catalogue.run(fleet, options.command, options.file)


def _logs(fleet: Fleet, options: argparse.Namespace) -> None:
    from fleet.tools.logs import show, show_matching

    parts = [fleet.part_by_prefix(options.name)] if options.name else fleet.parts
    if options.trace:
        show_matching(parts, options.trace)
    else:
        show(parts, options.lines, follow=not options.no_follow)


def _whole_fleet(fleet: Fleet, command: str, name: str) -> None:
    """Run up, down or reset. Refuse a name, because these commands act on every part."""
    if name:
        raise FleetError(
            f"{command} acts on the whole fleet and takes no s=. "
            "For one part: make restart, kill, pause or resume s=<name>."
        )
    getattr(start_stop, command)(fleet)
    if command == "up":
        show_addresses(fleet)


def _traces_port(fleet: Fleet) -> int:
    if fleet.traces is None:
        raise FleetError(
            "Spans are sent to your own collector (OTEL_EXPORTER_OTLP_ENDPOINT). Search there."
        )
    return fleet.traces.port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fleet", description="The local fleet without Docker.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (
        ("up", "start all stopped parts and wait until they are ready"),
        ("down", "stop all parts and keep the data"),
        ("reset", "stop all parts and delete the data"),
    ):
        whole = commands.add_parser(command, help=text)
        whole.add_argument("name", nargs="?", default="", help="not allowed for this command")
    commands.add_parser("status", help="show all processes and the dependencies of each service")
    commands.add_parser("seed", help="create the demo products and their stock")
    for command, text in (
        ("import", "import a catalogue file and its stock: .csv, .json, .ndjson"),
        ("export", "write all products to a file, as NDJSON"),
    ):
        catalogue = commands.add_parser(command, help=text)
        catalogue.add_argument("file", type=Path, help="path of the file")
    demo = commands.add_parser("demo", help="start all parts, place an order, show its mail")
    demo.add_argument("--once", action="store_true", help="stop after the mail, not at Ctrl-C")
    token = commands.add_parser("token", help="print an access token of a demo user")
    token.add_argument("user", nargs="?", default="alice")
    token.add_argument("-p", "--password", default="", help="default: the user's name")
    doctor = commands.add_parser("doctor", help="explain why the gateway refuses a token")
    doctor.add_argument("token", nargs="?", help="an access token; - reads it from stdin")
    doctor.add_argument("-u", "--user", default="", help="check a new token of this demo user")
    logs = commands.add_parser("logs", help="follow the logs")
    logs.add_argument("name", nargs="?", default="", help="a service or server; default: all")
    logs.add_argument("-n", "--lines", type=int, default=40, help="earlier lines to print first")
    logs.add_argument("--no-follow", action="store_true", help="stop after the earlier lines")
    logs.add_argument("-t", "--trace", default="", help="only lines with this trace id or text")
    traces = commands.add_parser("traces", help="print a trace as a tree")
    traces.add_argument("wanted", nargs="?", default="", help="order number or trace id")
    add_dlq(commands)
    for command, text in (
        ("dev", "restart one service on each change of its code, until Ctrl-C"),
        ("restart", "stop and start one part"),
        ("kill", "send SIGKILL to one part"),
        ("pause", "send SIGSTOP to one part"),
        ("resume", "send SIGCONT to one part"),
    ):
        one = commands.add_parser(command, help=text)
        one.add_argument("name", nargs="?", default="", help="a service or a server")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
