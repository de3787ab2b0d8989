"""The fault campaign: a busy country on real brokers, everything that fails, and exact figures.

``python -m tests.chaos --help``. What survives what is said in docs/reliability.md; the report of
the last full run stands there too.
"""
