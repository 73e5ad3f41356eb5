"""Mutants: deliberate defects, each of which a test must catch. Promise 62.

    make mutants                 all of them; m=NAME one
    .venv/bin/python -m tests.mutants --list

`stock.py`, `orders.py`, `chassis.py`, `mails.py` and `gateway.py` contain the mutants, `mutant.py`
defines their fields, `checkout.py` runs tests on a copy of this checkout with a mutant applied.
"""
