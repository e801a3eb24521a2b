"""Measurements of the engine, against bare alternatives or against itself. Each prints one JSON object a line.

A line has `measure` (what, and its unit), `ours`, `bare` (what it is compared with) and `ratio` (ours / bare). They use the
servers of DATABASE_URL, CELERY_BROKER_URL and CACHE_URL, and a database of their own there; without them everything is embedded.
"""
