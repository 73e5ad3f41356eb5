"""The judge: place orders while injecting faults, then check the state of the whole fleet.

    make judge SEED=7 DURATION=60
    .venv/bin/python -m tests.judge --help

`plan.py` derives the faults from the seed, `customers.py` generates the load, `nemesis.py` injects
the faults, `evidence.py` reads all stores, topics and mails, `checks/` report violations.
"""
