"""What portals send: the event types, and the way from a record's bytes to an event or a rejection.

Imports pydantic and the standard library only, never `streams`. Everything is pure.
"""
