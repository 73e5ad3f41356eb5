"""`python -m tests.mutants`: plant each defect and report the test that catches it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.mutants.checkout import BrokenRun, Checkout, Verdict, a_checkout
from tests.mutants.mutant import CodeMoved, Mutant
from tests.mutants.table import MUTANTS


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one mutant. `wrong` is empty if it was caught."""

    mutant: Mutant
    verdict: Verdict | None
    wrong: str
    seconds: float


def try_out(checkout: Checkout, mutant: Mutant) -> Result:
    """Plant one defect and run its test."""
    began, verdict, wrong = time.monotonic(), None, ""
    try:
        with checkout.changed(mutant.edits):
            verdict = checkout.test(mutant.suite, mutant.test)
        if verdict.failed is None:
            wrong = f"SURVIVED {mutant.test}"
    except (CodeMoved, BrokenRun) as error:
        wrong = f"ERROR {error}"
    return Result(mutant, verdict, wrong, time.monotonic() - began)


def without_a_defect(checkout: Checkout, mutants: Sequence[Mutant]) -> bool:
    """Return True if the tests pass on the unchanged copy."""
    for suite in dict.fromkeys(mutant.suite for mutant in mutants):
        checkout.prove(suite)
        tests = dict.fromkeys(mutant.test for mutant in mutants if mutant.suite == suite)
        began = time.monotonic()
        verdict = checkout.test(suite, *tests, fail_fast=False)
        print(
            f"  {suite:<22}{verdict.passed:4} passed {time.monotonic() - began:7.1f} s", flush=True
        )
        if verdict.failed is not None:
            print(f"  {verdict.failed} fails without any mutant: {verdict.reason}")
            return False
    return True


def line(result: Result) -> str:
    """Format one row of the table."""
    promises = ", ".join(map(str, result.mutant.promises))
    caught = result.wrong.partition("\n")[0]
    if result.verdict is not None and result.verdict.failed is not None:
        caught = result.verdict.failed
    return f"  {result.mutant.name:<40} {promises:<7} {result.seconds:6.1f} s  {caught}"


def run(mutants: Sequence[Mutant]) -> int:
    """Run all mutants one after the other. Return 0 if every one was caught."""
    with a_checkout() as checkout:
        print("Without a mutant:", flush=True)
        if not without_a_defect(checkout, mutants):
            return 1
        print(f"\n  {'mutant':<40} {'promise':<7} {'':>8}  caught by", flush=True)
        results = []
        for mutant in mutants:
            results.append(result := try_out(checkout, mutant))
            print(line(result), flush=True)
    wrong = [result for result in results if result.wrong]
    for result in wrong:
        print(f"\n{result.mutant.name}: {result.wrong}")
    print(f"\n  {len(results) - len(wrong)} of {len(results)} caught")
    return 1 if wrong else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line. Return 2 for an unknown mutant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="names of mutants; all by default")
    parser.add_argument("--list", action="store_true", help="list the mutants")
    options = parser.parse_args(arguments)
    known = {mutant.name: mutant for mutant in MUTANTS}
    if unknown := set(options.names) - known.keys():
        print(f"No such mutant: {', '.join(sorted(unknown))}. Known: {', '.join(known)}.")
        return 2
    if options.list:
        print("\n".join(known))
        return 0
    try:
        return run([known[name] for name in options.names] or MUTANTS)
    except BrokenRun as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
