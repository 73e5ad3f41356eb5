"""The judge: orders under load while parts of the fleet are broken, and then: is the state right?

    make judge SEED=7 DURATION=60
    .venv/bin/python -m tests.judge --help

`plan.py` draws the faults from the seed, `customers.py` the load; `nemesis.py` breaks things,
`evidence.py` reads every store, every topic and the mailbox, and `checks/` say what is wrong.
"""
