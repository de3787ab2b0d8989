"""A second account of the register, from the raw events, by code that shares none with the first.

Written from the contract alone: its own reading of a record, its own counting (polars), its own
reading of what is published. May import settings and the Kafka clients; an import contract forbids
the counting rules, the pipeline and the schemas, so that a mistake has to be made twice to go
unseen. Nothing here writes anywhere, so there is nothing to survive a crash.
"""
