import pytest

pytest.register_assert_rewrite("tests.connectors.contract", "tests.connectors.fake_vendor")
