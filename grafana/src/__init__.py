"""The dashboards' source, in Python. ``python -m grafana.src`` writes grafana/dashboards/.

texts (two languages, agency names) ← expressions (PromQL) ← panels (what Grafana draws) ←
one module per dashboard ← catalogue (all of them). Nothing here runs in production: Grafana reads
the JSON, which is committed; a test regenerates it and compares.
"""
