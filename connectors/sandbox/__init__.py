"""A fake vendor world: stands in for the vendors in the demo and in the tests, over real HTTP.

It is a program of its own (`python -m connectors.sandbox`), with its own SQLite store that the product never opens, and it
imports nothing of the product. Each vendor is one module that answers as its documentation says. What a request did to a
vendor's world is written down as an *effect*, apart from what was answered: a test can tell "it happened" from "we were told
that it happened". `/_sandbox/` controls it; `/` shows it to people.
"""
