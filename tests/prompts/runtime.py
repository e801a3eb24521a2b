"""Callers of the runtime API, for tests."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.test import Client

from engage.tenancy.models import ApiKey, App, IdentitySecret, KeyKind
from prompts import identity, versions
from prompts.models import Prompt
from tests import factories


@dataclass
class Caller:
    """A server or a browser of an App. `user` is whom a browser has a signed identity for."""

    app: App
    kind: str = KeyKind.SECRET
    user: str = ""
    token: str = field(init=False)
    identity: str = field(init=False, default="")

    def __post_init__(self) -> None:
        _, self.token = ApiKey.make(self.app, self.kind)
        if self.user:
            _, secret = IdentitySecret.make(self.app)
            self.identity = identity.sign(secret, self.user, self.token)

    def headers(self) -> dict[str, str]:
        found = {"Authorization": f"Bearer {self.token}"}
        return {**found, "X-Engage-Identity": self.identity} if self.identity else found

    def get(self, path: str, **headers: str) -> Any:
        return Client().get(f"/api/v1{path}", headers={**self.headers(), **headers})

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return self._send("post", path, body, headers)

    def put(self, path: str, body: Any, **headers: str) -> Any:
        return self._send("put", path, body, headers)

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        data = body if isinstance(body, (str, bytes)) else json.dumps(body)
        send = getattr(Client(), method)
        return send(f"/api/v1{path}", data, "application/json", headers={**self.headers(), **headers})


def browser(app: App, user: str = "") -> Caller:
    """A browser, with an identity where `user` is given."""
    return Caller(app, KeyKind.PUBLISHABLE, user)


def prompt(app: App, **fields: Any) -> Prompt:
    """A published live prompt."""
    made: Prompt = factories.PromptFactory(app=app, **fields)
    versions.publish(made, "tests")
    return made


def redirecting(
    app: App, interaction: str = "accept", url: str = "https://example.com/thanks", **fields: Any
) -> Prompt:
    """A published prompt that redirects."""
    made: Prompt = factories.PromptFactory(app=app, **fields)
    factories.BindingFactory(
        prompt=made,
        interaction=interaction,
        connector="builtin",
        action="redirect",
        connection=None,
        inputs={"url": {"from": "fixed", "value": url}},
    )
    versions.publish(made, "tests")
    return made


def event(prompt_key: str, user_id: str = "user-1", **fields: Any) -> dict[str, Any]:
    """The body of an event."""
    return {"event_id": str(uuid.uuid4()), "prompt": prompt_key, "interaction": "accept", "user_id": user_id, **fields}
