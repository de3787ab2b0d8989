"""Everything that speaks Kafka but not Faust: brokers, topics, offsets, read-only views.

May import aiokafka and the standard library; knows nothing of events, counting or Faust, so the
worker, the command line, the audit and the tests all use it alike.
"""
