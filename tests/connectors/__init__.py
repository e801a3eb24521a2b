"""Tests of the connectors."""

import pytest

# They hold assertions and are no test modules: without this a failure of theirs would not say what differs.
pytest.register_assert_rewrite(
    *(f"{__name__}.{name}" for name in ("contract", "fake_vendor", "forwarder_contract", "inbound_contract"))
)
