"""API actions: an administrator's own HTTP endpoint as an action. One connection is one action.

What is sent is written with placeholders (`connectors.placeholders`). No placeholder stands in the server's name: neither a
trait nor an answer chooses where we call. Secrets go into headers and the body only, never into an address.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit

from connectors import placeholders
from connectors.addresses import checked_addresses
from connectors.answers import Answer
from connectors.api_actions.endpoint import KEPT, KEY_HEADER, Endpoint, fits_header, server_of
from connectors.api_actions.settings import PREFIX, EndpointForm
from connectors.auth import PutSecrets
from connectors.base import (
    Action,
    Category,
    Connector,
    Json,
    Needs,
    ProbeLine,
    Replay,
    SecretField,
    Support,
    Values,
)
from connectors.failures import Failure, NotAllowed, Rejected, Undocumented
from connectors.http import Api, base_url
from connectors.inputs import form_of
from connectors.placeholders import SECRET, TRAIT, Known

NAMED_SECRET = SecretField()
"""How the value of a secret is read that the settings name."""


class Call(Action):
    """The request of a connection; each connection's own subclass says what it needs."""

    def perform(self, api: Api, user: Json, inputs: Values) -> str:
        """Send it, and judge the answer as the settings say."""
        endpoint, known = Endpoint.read(api.settings), Known(user, inputs)
        headers = {name: placeholders.fill_text(template, known) for name, template in endpoint.headers.items()}
        for name, template in endpoint.headers.items():
            public = tuple(part for part in template if isinstance(part, str) or part.kind != SECRET)
            if not fits_header(placeholders.fill_text(public, known)):
                raise Rejected(f"The header {name} cannot carry its value: only plain letters, digits and signs.")
        answer = api.write(
            endpoint.method,
            *(placeholders.fill_text(segment, known) for segment in endpoint.segments),
            slash=endpoint.slash,
            params={name: placeholders.fill_text(template, known) for name, template in endpoint.params.items()},
            headers=headers,
            judge=partial(refusal, api.settings),
            json=placeholders.fill_json(endpoint.body, known),
        )
        words = api.settings.get("success_text") or f"{urlsplit(api.settings['url']).hostname} accepted it"
        return f"{words.rstrip('.')} (status {answer.status})"


def refusal(settings: Values, answer: Answer) -> Failure | None:
    """Read whether a 2xx is the success that the settings describe; other answers are judged by their status."""
    path, host = settings.get("success_path") or "", urlsplit(settings["url"]).hostname
    if not 200 <= answer.status < 300:
        return None
    if isinstance(answer.data, str) and "html" in str(answer.headers.get("Content-Type", "")).lower():
        return Undocumented(f"{host} answered with a page instead of data (status {answer.status}).")
    if not path:
        return None
    found = answer.data
    for step in path.split("."):
        try:
            found = found[int(step)] if isinstance(found, list) else found[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return Undocumented(f"The answer of {host} has no {path}, by which success is told.")
    if isinstance(found, (dict, list)):
        return Undocumented(f"The answer of {host} has more than one value in {path}, by which success is told.")
    told, wanted = in_json(found), settings.get("success_value") or ""
    return None if told == wanted else Rejected(f"{host} answered that {path} is {told[:200]}, not {wanted}.")


def in_json(value: Any) -> str:
    """Return a value as people type it: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class ApiActions(Connector):
    """Endpoints of an administrator's own."""

    key, label, category = "api", "API action", Category.BUILT_IN
    description = "Calls an HTTP endpoint of your own."
    aliases = ("webhook", "custom", "http", "rest", "endpoint")
    support = Support.CONTRACT
    several = True
    probe_proves_secrets = False
    idempotency_header = KEY_HEADER
    setup_steps = (
        "Write down what your endpoint expects: method, URL, headers and JSON.",
        "Put placeholders where something differs: %email% for a trait, %input.plan% for what is filled in for each prompt.",
        "Write %secret.token% where a credential belongs; a field for it appears. Secrets are stored apart and encrypted.",
        "Let the endpoint recognise the Idempotency-Key header if it can: then a lost answer is tried again by itself.",
        "Save it, look at Preview, and switch it on. It then stands in every prompt's Actions panel.",
    )

    class Settings(EndpointForm):
        """What is called."""

    def environment(self, settings: Values) -> str:
        """The server."""
        return urlsplit(settings["url"]).hostname or ""

    def base_url(self, settings: Values) -> str:
        """Return scheme, host and port."""
        if not (server := server_of(settings.get("url"))):
            raise ValueError("There is no URL yet.")
        return server

    def auth(self, settings: Values) -> PutSecrets:
        """Return what puts the secrets in."""
        return PutSecrets({name.removeprefix(PREFIX): str(settings[name]) for name in self.secret_fields(settings)})

    def secret_fields(self, settings: Values) -> Mapping[str, SecretField]:
        """Return those that the settings name, whether a placeholder still does or not."""
        return dict.fromkeys((name for name in settings if name.startswith(PREFIX)), NAMED_SECRET)

    def actions_of(self, settings: Values) -> tuple[type[Action], ...]:
        """Return the one action that the settings describe."""
        told = tuple((name, value) for name, value in settings.items() if not name.startswith(PREFIX))
        return (_action(told),) if told else ()

    def probe(self, api: Api) -> list[ProbeLine]:
        """Look whether the server may be called; the rest cannot be tested without calling it."""
        parts = urlsplit(base_url(self, api.settings))
        if not parts.hostname:
            raise NotAllowed("The address is none that can be called.")
        checked_addresses(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
        return [
            ProbeLine(True, f"{parts.hostname} is found, and may be called."),
            ProbeLine(
                None, "Whether it accepts the request cannot be tested without sending it. Try it from a prompt."
            ),
        ]


@lru_cache(KEPT)
def _action(told: tuple[tuple[str, Any], ...]) -> type[Action]:
    """Return the action that settings describe, without secrets: each execution asks for it again."""
    settings = dict(told)
    endpoint, replay = Endpoint.read(settings), Replay[settings["replay"]]
    traits = endpoint.used(TRAIT)
    names = {placeholder.name for placeholder in traits if placeholder.default is None}
    also = tuple(dict.fromkeys(placeholder.name for placeholder in traits if placeholder.name not in names))
    needed = dict.fromkeys(placeholder.name for placeholder in traits if placeholder.name in names)
    declared = {
        "key": "call",
        "label": settings["name"],
        "description": settings.get("description") or f"{settings['method']} {server_of(settings['url'])}",
        "needs": Needs(tuple((name,) for name in needed), also),
        "replay": replay,
        "replay_proof": "As an administrator of this App says of the endpoint.",
        "key_kept": timedelta(hours=settings["key_hours"]) if replay is Replay.KEY else None,
        "check_at": f"Look in your own system behind {urlsplit(settings['url']).hostname}; it was sent the {KEY_HEADER} shown.",
        "from_browser": frozenset(one.name for one in endpoint.inputs if one.from_person),
        "Inputs": form_of(endpoint.inputs),
    }
    return type("Call", (Call,), declared)
