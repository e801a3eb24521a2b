"""Fixtures of the whole suite."""

import os
from collections.abc import Callable

import hypothesis
import pytest
from django.core.cache import cache
from django.test import Client

from connectors import published
from engage.tenancy.models import App, User
from engage.tenancy.roles import Role
from tests import factories

# axes asks for a request when somebody signs in; tests that are not about signing in go past it.
BACKEND = "django.contrib.auth.backends.ModelBackend"


# One profile bounds Hypothesis and schemathesis in the suite; `thorough` is for a long look by hand.
_SLOW = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
# The same examples in every run, so that a red run says something of the change; "thorough" looks for new ones.
hypothesis.settings.register_profile(
    "ci", max_examples=30, deadline=None, suppress_health_check=_SLOW, database=None, derandomize=True
)
hypothesis.settings.register_profile("thorough", max_examples=1000, deadline=None, suppress_health_check=_SLOW)
hypothesis.settings.load_profile(os.environ.get("ENGAGE_HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-crashes", action="store_true", help="every crash point with every kind of action")


def pytest_xdist_auto_num_workers() -> int:
    """Return two workers for each core: half of the suite's time is waiting, for a browser, a silent vendor, a worker of ours."""
    return 2 * len(os.sched_getaffinity(0))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for the database, so that a run on another one can leave out what knows none."""
    for item in items:
        asks = {"db", "transactional_db"} & set(getattr(item, "fixturenames", ()))
        if asks or item.get_closest_marker("django_db"):
            item.add_marker("database")


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    """The cache is a process's memory, and so are vendors' published keys: a test begins without."""
    cache.clear()
    published.kept.clear()
    published.asked.clear()


@pytest.fixture
def app(db: None) -> App:
    """An App of a company of its own."""
    return factories.AppFactory(name="Streamly", key="streamly", company__name="Example Media")


@pytest.fixture
def other_app(db: None) -> App:
    """An App of somebody else."""
    return factories.AppFactory(name="Elsewhere", key="elsewhere", company__name="Another Company")


@pytest.fixture
def signed_in() -> Callable[[User], Client]:
    """Return a browser in which this person is signed in."""

    def browser(user: User) -> Client:
        client = Client()
        client.force_login(user, backend=BACKEND)
        return client

    return browser


@pytest.fixture
def console(app: App, signed_in: Callable[[User], Client]) -> Callable[[Role], Client]:
    """Return a browser in which somebody with this role in `app` is signed in."""
    return lambda role: signed_in(factories.person(app, role))
