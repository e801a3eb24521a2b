"""Measurements of the engine, against bare alternatives or against itself. Each prints one JSON object a line.

A line has `measure` (what, and its unit), `ours`, `bare` (what it is compared with) and `ratio` (ours / bare). `bench.engine` and
`bench.pages` write into the very servers that DATABASE_URL and CELERY_BROKER_URL name, and refuse a database that holds anything;
`make` lends them some. The others make a database of their own.
"""
