"""The demo's company, as it would look some weeks after somebody set it up. What is there already stays as it is."""

import csv
import io
from typing import Any

import requests
from django.conf import settings
from django.db import transaction
from django.forms import BooleanField, ChoiceField, Field
from django.forms.utils import pretty_name
from django.utils import timezone

from connectors import catalogues, connections, registry
from connectors.models import Connection
from connectors.sandbox.people import PEOPLE as VIEWERS
from connectors.sandbox.worlds import WORLDS, cleeng
from engage.audit.record import record
from engage.demo.kept import Kept
from engage.tenancy.models import (
    ApiKey,
    App,
    Company,
    DeliveryMode,
    IdentitySecret,
    KeyKind,
    Membership,
    User,
    token_hash,
)
from engage.tenancy.roles import Role
from prompts.models import Binding, Interaction, LimitKind, Prompt, PromptStatus, PromptType
from prompts.versions import publish
from sync.models import Source, Subscriber, Trait, TraitType
from sync.traits import set_traits

BY = "demo"
"""Who did all this, in the history."""
BUCKET, PREFIX = "streamly-exports", "churniq/"
PREMIUM = "S531000003_US"

PEOPLE = (
    ("admin@streamly.example", "Alex Admin", Role.COMPANY_ADMIN),
    ("designer@streamly.example", "Dana Designer", Role.APP_MEMBER),
    ("reader@streamly.example", "Robin Reader", Role.READ_ONLY),
)
TRAITS = (
    ("first_name", TraitType.TEXT, True, "Used in prompts: {{ first_name }}"),
    ("last_name", TraitType.TEXT, True, ""),
    ("email_address", TraitType.TEXT, True, ""),
    ("cleeng_customer_id", TraitType.TEXT, True, "ChurnIQ's “Customer ID”; Cleeng's actions need it"),
    ("plan", TraitType.TEXT, False, "What the subscriber pays for"),
)
TEST_SUBSCRIBERS = ("viewer-ava", "viewer-ben")
PLANS = ("Standard", "Premium (cancelled)", "Basic", "Basic and Sports", "None", "Standard (Apple)", "Ended", "Premium")
"""What the sandbox's people pay for at Cleeng, in their order."""


def seed(kept: Kept, *, s3_url: str) -> None:
    """Make what is missing of the demo.

    Args:
        kept: passwords and API keys.
        s3_url: where the demo's S3 server listens now. It forgets everything when it ends, so the bucket is filled anew.

    """
    with transaction.atomic():
        app = _app()
        _people(app, kept)
        _keys(app, kept)
        _subscribers(app)
    connection = _connection(app)
    _prompts(app, connection)
    _source(app, s3_url)
    fill_bucket(s3_url)
    _tell_labels()


def _tell_labels() -> None:
    """Tell the sandbox how the console calls settings, so that its pages say what to type in the same words."""
    labels = {
        declared.key: {name: _label(name, shown) for name, shown in declared.Settings.base_fields.items()}
        for declared in registry.CONNECTORS
    }
    place = f"{settings.ENGAGE_DEMO_SANDBOX_URL}/_sandbox/labels"
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between the demo's own processes
        session.post(place, json=labels, timeout=10).raise_for_status()


def _label(name: str, shown: Field) -> dict[str, Any]:
    """Return how a field is called, and what it offers."""
    values: dict[str, str] = {}
    if isinstance(shown, ChoiceField):
        offered: Any = shown.choices  # its stubs tell of all that could be given for it
        values = {str(value): str(words) for value, words in offered}
    elif isinstance(shown, BooleanField):
        values = {"on": "On"}
    return {"name": str(shown.label or pretty_name(name)), "values": values}


def _app() -> App:
    company, _ = Company.objects.get_or_create(name="Streamly Media")
    app, made = App.objects.get_or_create(
        key="streamly",
        # Live: nothing here can cost anybody anything, and a visitor sees every viewer's answer carried out.
        defaults={
            "company": company,
            "name": "Streamly",
            "time_zone": "America/New_York",
            "delivery_mode": DeliveryMode.LIVE,
        },
    )
    if made:
        record("created", app, actor=BY)
    origins = [settings.ENGAGE_BASE_URL, settings.ENGAGE_BASE_URL.replace("localhost", "127.0.0.1")]
    missing = [origin for origin in origins if origin not in app.domains]
    if missing:
        app.domains = [*app.domains, *missing]
        app.save(update_fields=["domains"])
    return app


def _people(app: App, kept: Kept) -> None:
    for email, name, role in PEOPLE:
        if User.objects.filter(email=email).exists():
            continue  # a password that was changed stays changed
        user = User.objects.create_user(email, kept.passwords[email], name=name)
        Membership.objects.create(
            user=user, company=app.company, app=None if role == Role.COMPANY_ADMIN else app, role=role
        )


def _keys(app: App, kept: Kept) -> None:
    for kind, key in ((KeyKind.PUBLISHABLE, kept.publishable_key), (KeyKind.SECRET, kept.api_secret_key)):
        ApiKey.objects.get_or_create(hashed=token_hash(key), defaults={"app": app, "kind": kind, "hint": key[:8]})
    if not IdentitySecret.objects.filter(app=app, revoked_at=None).exists():
        IdentitySecret.make(app)


def _subscribers(app: App) -> None:
    for name, kind, personal, description in TRAITS:
        Trait.objects.get_or_create(
            app=app, name=name, defaults={"type": kind, "personal": personal, "description": description}
        )
    for world in WORLDS.values():
        for name in world.traits(VIEWERS[0]):
            described = {"type": TraitType.TEXT, "personal": True, "description": f"{world.label}'s actions need it"}
            Trait.objects.get_or_create(app=app, name=name, defaults=described)
    for person, plan in zip(VIEWERS, PLANS, strict=True):
        traits = {
            "first_name": person.first,
            "last_name": person.last,
            "email_address": person.email,
            "plan": plan,
        }
        for world in WORLDS.values():
            traits |= world.traits(person)
        known = Subscriber.objects.filter(app=app, user_id=person.user_id).first()
        missing = {name: value for name, value in traits.items() if known is None or name not in known.traits}
        if missing:
            set_traits(app, person.user_id, missing, origin="Demo")
        if known is None and person.user_id in TEST_SUBSCRIBERS:
            Subscriber.objects.filter(app=app, user_id=person.user_id).update(
                is_test=True, test_note="Made by the demo"
            )


def _connection(app: App) -> Connection:
    """Set up Cleeng against the sandbox: tested, active, its offers read."""
    connection = Connection.objects.filter(app=app, connector="cleeng").first()
    if connection is None:
        connection = Connection(
            app=app,
            connector="cleeng",
            settings={"environment": "sandbox"},
            active=True,
            secrets_set_at=timezone.now(),
            secrets_set_by=User.objects.get(email=PEOPLE[0][0]),
        )
        connection.seal({"api_key": cleeng.TOKEN})
        connection.save(force_insert=True)
        record("created", connection, actor=BY)
        connections.probe_stored(connection)
        catalogues.refresh(connection)
    return connection


def _prompts(app: App, connection: Connection) -> None:
    """Make one prompt for each of Cleeng's actions."""
    coupon = {"coupon": {"from": "fixed", "value": "SAVE20"}}
    premium = {"to_offer": {"from": "fixed", "value": PREMIUM}, "direction": {"from": "fixed", "value": "upgrade"}}
    _prompt(
        app,
        connection,
        key="stay",
        name="Stay with us: 20 % off",
        type=PromptType.POPUP,
        title="{{ first_name }}, stay with us for 20 % less",
        message="Keep watching, and pay 20 % less from your next payment on.",
        url_pattern="/demo/",
        accept_label="Yes, take 20 % off",
        decline_label="No, thank you",
        text_done="Done: 20 % off from your next payment on.",
        actions=[(Interaction.ACCEPT, "apply_coupon", coupon)],
    )
    _prompt(
        app,
        connection,
        key="premium",
        name="Move up to Premium",
        type=PromptType.BANNER,
        title="Watch in 4K: move to Premium",
        message="The change takes effect at once.",
        url_pattern="/demo/watch/*",
        accept_label="Move to Premium",
        decline_label="Not now",
        text_done="Welcome to Premium!",
        text_follows="Thank you. Premium is on its way.",
        actions=[(Interaction.ACCEPT, "switch_subscription", premium)],
    )
    _prompt(
        app,
        connection,
        key="come-back",
        name="Keep the subscription after all",
        type=PromptType.NOTIFICATION,
        title="Changed your mind, {{ first_name }}?",
        message="If you have cancelled, you can undo it here with one click, and take 20 % off.",
        url_pattern="/demo/account/*",
        accept_label="Keep it",
        secondary_label="Keep it with 20 % off",
        decline_label="Let it end",
        text_done="Your subscription goes on.",
        actions=[
            (Interaction.ACCEPT, "reactivate_subscription", {}),
            (Interaction.SECONDARY_ACCEPT, "reactivate_subscription", {}),
            (Interaction.SECONDARY_ACCEPT, "apply_coupon", coupon),
        ],
    )


@transaction.atomic
def _prompt(
    app: App, connection: Connection, *, key: str, actions: list[tuple[str, str, dict[str, Any]]], **fields: Any
) -> None:
    prompt, made = Prompt.objects.get_or_create(
        app=app, key=key, defaults={"status": PromptStatus.LIVE, "limit": LimitKind.ONCE, **fields}
    )
    if not made:
        return
    for position, (interaction, action, inputs) in enumerate(actions):
        Binding.objects.create(
            prompt=prompt,
            interaction=interaction,
            position=position,
            connector=connection.connector,
            action=action,
            connection=connection,
            inputs=inputs,
        )
    publish(prompt, by=BY)
    record("created", prompt, actor=BY)


# --- files ------------------------------------------------------------------------------------------------------------------


def _source(app: App, s3_url: str) -> None:
    source = Source.objects.filter(app=app, name="ChurnIQ export").first()
    if source is None:
        source = Source(
            app=app,
            name="ChurnIQ export",
            bucket=BUCKET,
            prefix=PREFIX,
            region="us-east-1",
            endpoint_url=s3_url,
            access_key_id="demo-read-only",
            id_column="External ID",
            columns={"Customer ID": {"trait": "cleeng_customer_id"}},
            time_zone="Europe/Berlin",
        )
        source.seal({"secret_access_key": "any text will do for the demo's own S3 server"})
        source.save(force_insert=True)
        record("created", source, actor=BY)
    elif source.endpoint_url != s3_url and source.bucket == BUCKET:
        Source.objects.filter(pk=source.pk).update(endpoint_url=s3_url)  # the demo moved to another port


def churniq_file() -> str:
    """Return a CSV as a ChurnIQ segment has it, with one line that cannot be imported."""
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["External ID", "Customer ID", "First Name", "Email Address", "Subscriber Status", "Churn risk"])
    for number, person in enumerate(VIEWERS):
        customer = cleeng.traits(person)["cleeng_customer_id"]
        rows.writerow([person.user_id, customer, person.first, person.email, "subscriber_active", number * 12])
    rows.writerow(["", 640000099, "Nobody", "nobody@example.com", "subscriber_churned", 99])
    rows.writerow(["viewer-iris", 640000009, "Iris", "iris.novak@example.com", "subscriber_active", 5])
    return out.getvalue()


def fill_bucket(s3_url: str) -> None:
    """Put the vendor's file where the source looks. The same file has the same ETag, so it is imported once."""
    with requests.Session() as session:
        session.trust_env = False
        session.put(f"{s3_url}/{BUCKET}", timeout=10).raise_for_status()
        session.put(
            f"{s3_url}/{BUCKET}/{PREFIX}segment_all_viewers.csv", churniq_file().encode(), timeout=10
        ).raise_for_status()
