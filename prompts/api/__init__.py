"""The runtime API: what apps and browsers ask for and report. `endpoints.py` has the operations, in one place."""
