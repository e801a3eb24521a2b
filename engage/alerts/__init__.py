"""Alerts: what has gone wrong in an App, told once to its administrators, and told again when it is over."""
