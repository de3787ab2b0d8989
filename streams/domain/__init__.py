"""The counting rules: pure functions over facts, standard library only.

Nothing here knows of Kafka, JSON, HTTP or the clock. Instants are whole microseconds since the
Unix epoch; days are proleptic Gregorian ordinals (``date.toordinal``) in Asia/Ho_Chi_Minh.
"""
