"""System checks of the declarations: what a vendor's file leaves out is said by `manage.py check`, before anybody sees it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004 - Django's name

from connectors import pushes, rereads
from connectors.base import (
    Action,
    Catalogue,
    CatalogueField,
    Category,
    Connector,
    Replay,
    SecretField,
    SigningSecretField,
)
from connectors.forwarders import Batched
from connectors.pulls import RANK, SETTING, TYPES
from engage.redaction import SECRET_NAME

KEY = re.compile(r"[a-z][a-z0-9_]{1,39}")  # fits the columns, URLs and file names that carry it


def declaration(connectors: Sequence[type[Connector]]) -> list[CheckMessage]:
    """Return what is wrong with these declarations."""
    found = [problem for declared in connectors for problem in _connector(declared)]
    keys = Counter(getattr(declared, "key", "") for declared in connectors)
    found += [
        Error(f"{count} connectors have the key {key!r}.", id="engage.E001") for key, count in keys.items() if count > 1
    ]
    return found


@register("connectors")
def registered_connectors(**_: Any) -> list[CheckMessage]:
    """Check every connector of the registry."""
    from connectors.registry import CONNECTORS

    return declaration(CONNECTORS)


@register("connectors")
def stand_in_for_apple(**_: Any) -> list[CheckMessage]:
    """Refuse a root in Apple's place where nothing takes Apple's place: whoever has its key could sign purchases."""
    if not settings.ENGAGE_APPLE_ROOT or "apple" in settings.ENGAGE_VENDOR_URLS:
        return []
    told = "ENGAGE_APPLE_ROOT is set, and ENGAGE_VENDOR_URLS names no sandbox for apple. It is ignored."
    return [Error(told, hint="Take it away: it is for trying Apple against a sandbox.", id="engage.E010")]


def _connector(declared: type[Connector]) -> Iterator[CheckMessage]:
    key = getattr(declared, "key", "")
    if not KEY.fullmatch(key):
        yield Error(f"The key {key!r} is not made of a-z, 0-9 and _ alone.", obj=declared, id="engage.E001")
    if not getattr(declared, "label", "") or not isinstance(getattr(declared, "category", None), Category):
        yield Error("A connector needs a label and a category.", obj=declared, id="engage.E002")
    if declared.needs_connection:
        if not declared.setup_steps:
            yield Error("People need to be told how to set it up: `setup_steps`.", obj=declared, id="engage.E003")
        nowhere = declared.calls_out and declared.base_url is Connector.base_url and not declared.base_urls
        if nowhere or (declared.probe is Connector.probe and not declared.parts):
            yield Error(
                "A connector with a connection needs `base_urls` or `base_url`, and `probe` or `parts`.",
                obj=declared,
                id="engage.E004",
            )
    if not finders.find(f"connectors/logos/{key}.svg"):
        yield Error(f"There is no logo static/connectors/logos/{key}.svg.", obj=declared, id="engage.E005")
    for name, catalogue in declared.catalogues.items():
        if not isinstance(catalogue, Catalogue) or not catalogue.label:
            yield Error(f"The catalogue {name!r} is none, or has no label.", obj=declared, id="engage.E006")
    yield from _form(declared, declared.Settings, declared.catalogues)
    yield from _secrets(declared)
    yield from _inbound(declared)
    yield from _pulls(declared)
    yield from _reread(declared)
    for name, count in Counter(getattr(action, "key", "") for action in declared.actions).items():
        if count > 1:
            yield Error(f"{count} of its actions have the key {name!r}.", obj=declared, id="engage.E012")
    for action in declared.actions:
        yield from _action(action, declared)
    yield from _batches(declared)


def _form(owner: type, form: Any, catalogues: Iterable[str]) -> Iterator[CheckMessage]:
    """A form that people fill in: every field has a label and, unless it explains itself, a help text."""
    if not (isinstance(form, type) and issubclass(form, forms.Form)):
        yield Error("Settings and inputs are declared as Django forms.", obj=owner, id="engage.E007")
        return
    for name, form_field in form.base_fields.items():
        if not form_field.label:
            yield Error(f"The field {name!r} has no label.", obj=owner, id="engage.E008")
        if not form_field.help_text and not isinstance(form_field, (forms.BooleanField, forms.ChoiceField)):
            yield Warning(f"The field {name!r} has no help text.", obj=owner, id="engage.W001")
        if isinstance(form_field, CatalogueField) and form_field.catalogue not in catalogues:
            text = f"The field {name!r} is filled from the catalogue {form_field.catalogue!r}, which is not declared."
            yield Error(text, obj=owner, id="engage.E009")
        within = form_field.within if isinstance(form_field, CatalogueField) else ""
        if within and not isinstance(form.base_fields.get(within), CatalogueField):
            text = f"The field {name!r} is offered within {within!r}, which is no choice from a catalogue."
            yield Error(text, obj=owner, id="engage.E021")


def _secrets(declared: type[Connector]) -> Iterator[CheckMessage]:
    """Only a SecretField is sealed; anything else is stored and shown as it is."""
    if not (isinstance(declared.Settings, type) and issubclass(declared.Settings, forms.Form)):
        return
    fields = declared.Settings.base_fields.values()
    for name, form_field in declared.Settings.base_fields.items():
        is_secret = isinstance(form_field, SecretField)
        if not is_secret and (SECRET_NAME.search(name) or isinstance(form_field.widget, forms.PasswordInput)):
            yield Error(
                f"The setting {name!r} looks like a secret: make it a SecretField.", obj=declared, id="engage.E010"
            )
        partner = form_field.goes_with if isinstance(form_field, SecretField) else ""
        if partner and partner not in declared.Settings.base_fields:
            yield Error(
                f"The secret {name!r} goes with {partner!r}, which is no setting.", obj=declared, id="engage.E024"
            )
        if is_secret and getattr(form_field, "is_identity", False):
            text = f"The secret {name!r} is no `identity()`: where it names the account, it says `names_account`."
            yield Error(text, obj=declared, id="engage.E011")
    secrets = [one for one in fields if isinstance(one, SecretField) and not isinstance(one, SigningSecretField)]
    named = any(getattr(one, "is_identity", False) and not isinstance(one, forms.ChoiceField) for one in fields)
    if secrets and not named and not any(one.names_account for one in secrets):
        text = "No setting says which account it is, so a secret does: give it `names_account`."
        yield Error(text, obj=declared, id="engage.E028")


def _inbound(declared: type[Connector]) -> Iterator[CheckMessage]:
    inbound = declared.inbound
    if inbound is None:
        return
    if not getattr(inbound, "setup_steps", ()) or not getattr(inbound, "types", ()):
        yield Error("Webhooks need `setup_steps` and the `types` that are read.", obj=declared, id="engage.E019")
    if inbound.believed_by not in declared.Settings.base_fields:
        text = f"There is no setting {inbound.believed_by!r}, without which no webhook can be believed."
        yield Error(text, obj=declared, id="engage.E020")


def _pulls(declared: type[Connector]) -> Iterator[CheckMessage]:
    if declared.pulls and SETTING not in declared.Settings.base_fields:
        text = f"What is read into traits needs the setting {SETTING!r}: `traits_choice()` makes it."
        yield Error(text, obj=declared, id="engage.E025")
    for key, pull in declared.pulls.items():
        taken = {pull.id_column, RANK} & set(pull.traits)
        if taken or not pull.traits or not set(pull.traits.values()) <= TYPES:
            text = f"The traits of {key!r} need names that no other column has, and one of the types {', '.join(sorted(TYPES))}."
            yield Error(text, obj=declared, id="engage.E026")


def _batches(declared: type[Connector]) -> Iterator[CheckMessage]:
    if declared.forwarder is not None:
        yield from _batched(declared.forwarder)
    if declared.push is None:
        return
    yield from _batched(declared.push)
    for name in sorted({"traits", pushes.SETTING} - set(declared.Settings.base_fields)):
        text = f"Who pushes traits is asked which, and whether at night: there is no setting {name!r}."
        yield Error(text, obj=declared, id="engage.E027")


def _reread(declared: type[Connector]) -> Iterator[CheckMessage]:
    reread = declared.reread
    if reread is None:
        return
    asks = any(form_field.required for form_field in reread.Inputs.base_fields.values())
    if reread not in declared.actions or reread.replay is not Replay.NATURAL or not reread.needs.groups or asks:
        text = "Who is read again is read by one of the actions: `Replay.NATURAL`, with `needs` and without required inputs."
        yield Error(text, obj=declared, id="engage.E030")
    if rereads.SETTING not in declared.Settings.base_fields:
        text = f"What is read again needs the setting {rereads.SETTING!r}: `nightly_choice()` makes it."
        yield Error(text, obj=declared, id="engage.E031")


def _action(action: type[Action], declared: type[Connector]) -> Iterator[CheckMessage]:
    key = getattr(action, "key", "")
    if not KEY.fullmatch(key):
        yield Error(f"The key {key!r} is not made of a-z, 0-9 and _ alone.", obj=action, id="engage.E012")
    if not getattr(action, "label", ""):
        yield Error("An action needs a label.", obj=action, id="engage.E013")
    if action.perform is Action.perform:
        yield Error("An action needs `perform`.", obj=action, id="engage.E014")
    if not action.description:
        yield Warning("People need to be told what it does: `description`.", obj=action, id="engage.W002")
    if action.part not in (declared.parts or {""}):
        yield Error("An action names the one of the connector's `parts` that it uses.", obj=action, id="engage.E029")
    yield from _replay(action)
    yield from _form(action, action.Inputs, declared.catalogues)
    if not (isinstance(action.Inputs, type) and issubclass(action.Inputs, forms.Form)):
        return
    for name, form_field in action.Inputs.base_fields.items():
        if isinstance(form_field, SecretField):
            text = f"The input {name!r} is a secret: inputs are kept and shown as they are."
            yield Error(text, obj=action, id="engage.E010")
    for name in sorted(action.from_browser - set(action.Inputs.base_fields)):
        yield Error(f"`from_browser` names {name!r}, which is no input.", obj=action, id="engage.E018")


def _batched(batched: type[Batched[Any]]) -> Iterator[CheckMessage]:
    if batched.payload is Batched.payload or batched.send is Batched.send:
        yield Error("What goes out in batches needs `payload` and `send`.", obj=batched, id="engage.E022")
    if not batched.description:
        yield Error("People need to be told what is sent: `description`.", obj=batched, id="engage.E023")


def _replay(action: type[Action]) -> Iterator[CheckMessage]:
    replay = getattr(action, "replay", None)
    if not isinstance(replay, Replay) or not getattr(action, "replay_proof", ""):
        yield Error("An action says why it may run again: `replay` and `replay_proof`.", obj=action, id="engage.E015")
    if replay is Replay.KEY and action.key_kept is None:
        yield Error(
            "With `Replay.KEY` it says how long the vendor keeps a key: `key_kept`.", obj=action, id="engage.E016"
        )
    if replay is Replay.CHECK and action.already_done is Action.already_done:
        yield Error("With `Replay.CHECK` it needs `already_done`.", obj=action, id="engage.E017")
    if replay in {Replay.KEY, Replay.CHECK, Replay.NEVER} and not action.check_at:
        text = "People need to be told where to look when an answer was lost: `check_at`."
        yield Warning(text, obj=action, id="engage.W003")
