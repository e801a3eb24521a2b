"""A vendor that answers as a test says, over a real connection."""

import json
from collections.abc import Callable

import pytest
from pytest_django.fixtures import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

KEY = "k" * 48
OTHER_KEY = "o" * 48


class Vendor:
    """Cleeng, as far as *Test connection* and the offers go: it accepts `KEY` and lists `offers`."""

    def __init__(self, server: HTTPServer) -> None:
        self.keys = {KEY}
        self.offers: object = [offer(100000001, "Basic"), offer(100000002, "Premium")]
        self.asked_with: list[str] = []
        self.status = 200
        self.meanwhile: Callable[[], None] | None = None  # done in its own thread before it answers
        server.expect_request("/3.1/subscriptions").respond_with_handler(self._subscriptions)
        server.expect_request("/3.1/offers").respond_with_handler(self._offers)

    def _subscriptions(self, request: Request) -> Response:
        return self._answer(request, {"success": True, "data": []})

    def _offers(self, request: Request) -> Response:
        return self._answer(request, {"data": self.offers if request.args.get("page") == "1" else []})

    def _answer(self, request: Request, data: object) -> Response:
        key = request.headers.get("X-Publisher-Token", "")
        self.asked_with.append(key)
        if self.meanwhile:
            self.meanwhile()
        status = self.status if key in self.keys else 401
        return Response(json.dumps(data), status, content_type="application/json")


def offer(number: int, title: str) -> dict[str, object]:
    return {"longId": f"S{number}_US", "title": title, "type": "subscription", "active": True}


@pytest.fixture
def vendor(httpserver: HTTPServer, settings: Settings) -> Vendor:
    settings.ENGAGE_VENDOR_URLS = {"cleeng": httpserver.url_for("/3.1")}
    return Vendor(httpserver)
