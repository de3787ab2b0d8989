"""The engines beside hoso, each a program of its own: ``python -m bench.peers.NAME``.

A peer imports ``bench.counts``, ``schemas`` and its own library, nothing else of the project: it
may run under an interpreter that has neither Faust nor hoso installed. How each is written, and
what it does less than hoso, is in docs/performance.md.
"""
