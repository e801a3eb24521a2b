"""A drill: many answers while vendors misbehave and everything is killed again and again. Run as `make chaos`.

It starts its own PostgreSQL, Redis, vendors and processes of Engage in a temporary folder, and compares in the end what the
vendors counted with what was accepted.
"""
