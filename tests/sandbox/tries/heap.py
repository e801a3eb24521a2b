"""Heap's action."""

from tests.sandbox.tries import Try

TRIES = (Try("add_user_properties", {"traits": "email_address"}, "profile_updated"),)
