"""Streets in which processes die."""

from collections.abc import Callable, Iterator

import pytest
from pytest_django import Settings

from connectors import registry
from engage.tenancy.models import App
from tests.connectors.tellers import Slipping
from tests.crash.street import Street
from tests.crash.victim import Ticketed
from tests.prompts.conftest import live_app
from tests.sandbox_fixture import RunningSandbox, sandbox
from tests.sync.conftest import _moto, bucket, make_source, s3_url, source

__all__ = ["_moto", "bucket", "live_app", "make_source", "s3_url", "sandbox", "source"]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process know the connectors that the victims know."""
    memory = registry._by_key  # noqa: SLF001 - forgotten before and after
    monkeypatch.setattr(registry, "CONNECTORS", (*registry.CONNECTORS, Ticketed, Slipping))
    memory.cache_clear()
    yield
    memory.cache_clear()


@pytest.fixture
def build(live_app: App, known: None, sandbox: RunningSandbox, settings: Settings) -> Callable[[str], Street]:
    """Return a function that builds a street for one kind of action."""
    settings.ENGAGE_VENDOR_URLS = {**sandbox.urls, "ticketed": sandbox.urls["api"]}
    return lambda kind: Street(live_app, sandbox, kind)
