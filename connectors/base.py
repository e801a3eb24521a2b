"""The vocabulary in which a vendor is declared: `Connector`, `Action`, what an action needs, why it may run again.

One vendor is one file in `connectors/vendors/`. Settings and inputs are ordinary Django forms: labels, help texts,
validation, choices and HTML come from there. A declaration that leaves out what has no safe default is refused when it is
imported (`__init_subclass__`) or by `manage.py check`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.db import models
from requests.auth import AuthBase

from connectors.auth import NoAuth
from connectors.failures import Failure, Missing

if TYPE_CHECKING:
    from connectors.answers import Answer
    from connectors.http import Api

Values = Mapping[str, Any]
"""Cleaned values of a form: a connection's settings and secrets together, or an action's inputs."""
Json = dict[str, Any]


class Category(models.TextChoices):
    """Where a connector stands in the catalogue."""

    BUILT_IN = "built_in", "Built in"
    BILLING = "billing", "Billing"
    CRM = "crm", "CRM and marketing"
    ANALYTICS = "analytics", "Analytics and events"


class Support(models.TextChoices):
    """How far a connector has been checked against its vendor."""

    CONTRACT = "contract", "Checked against the vendor's published contract"
    DOCUMENTATION = "documentation", "From documentation only"


class Replay(Enum):
    """Why an action may be carried out again, in the designer's words."""

    KEY = "Safe to repeat: every request carries a key by which the vendor recognises a repeat."
    CHECK = "Safe to repeat: we look first, and do nothing when it is already so."
    NATURAL = "Safe to repeat: the request sets a state, and setting it twice changes nothing."
    NEVER = "Not safe to repeat: when an answer is lost, a person decides whether it happened."

    @property
    def in_words(self) -> str:
        """The sentence that the Actions panel shows."""
        return self.value


# --- what an action needs of a person -------------------------------------------------------------


@dataclass(frozen=True)
class Needs:
    """Traits that an action needs: at least one of every group. `perform()` sees these traits and nothing else."""

    groups: tuple[tuple[str, ...], ...] = ()

    def __and__(self, other: "Needs") -> "Needs":
        """Both."""
        return Needs(self.groups + other.groups)

    @property
    def traits(self) -> tuple[str, ...]:
        """Every trait that is named, each once, in order."""
        return tuple(dict.fromkeys(name for group in self.groups for name in group))

    @property
    def in_words(self) -> str:
        """E.g. "cleeng_subscription_id or cleeng_customer_id"."""
        return ", and ".join(" or ".join(group) for group in self.groups) or "nothing"

    def pick(self, traits: Mapping[str, Any]) -> Json:
        """Return the needed traits that are known.

        Raises:
            Missing: a group of which none is known; the message names it.

        """
        known = {name: traits[name] for name in self.traits if traits.get(name) not in (None, "")}
        for group in self.groups:
            if not any(name in known for name in group):
                raise Missing(f"No {' or '.join(group)} is known of this subscriber.")
        return known


def one_of(*names: str) -> Needs:
    """At least one of these traits, in order of preference."""
    return Needs((names,))


def all_of(*names: str) -> Needs:
    """Every one of these traits."""
    return Needs(tuple((name,) for name in names))


NOTHING = Needs()


# --- form fields that only a declaration needs ----------------------------------------------------


class SecretField(forms.CharField):
    """A credential: stored encrypted, never shown again; left blank in a form it stays what it is."""

    def __init__(self, *, usual_length: int | None = None, **options: Any) -> None:
        self.usual_length = usual_length  # another length is warned about, not refused
        options.setdefault(
            "widget", forms.PasswordInput(render_value=False, attrs={"autocomplete": "off", "data-secret": ""})
        )
        super().__init__(strip=True, **options)


def identity(form_field: forms.Field) -> forms.Field:
    """Mark a setting that chooses the account or the host that secrets go to.

    Changing it demands the secrets again and raises the connection's generation.
    """
    form_field.is_identity = True  # type: ignore[attr-defined]
    return form_field


class CatalogueField(forms.ChoiceField):
    """A choice from rows synced from the vendor (`Connector.catalogues`); the form never touches the network.

    `bind_catalogue` is called by the form's maker with the connection's rows.
    """

    def __init__(self, *, catalogue: str, **options: Any) -> None:
        self.catalogue = catalogue
        self.is_bound = False
        super().__init__(**options)

    def bind_catalogue(self, choices: Iterable[tuple[str, str]]) -> None:
        """Offer these rows (key, label)."""
        self.is_bound = True
        self.choices = [("", "---------"), *choices]

    def valid_value(self, value: Any) -> bool:
        """Any value passes where no rows are at hand: at run time the vendor is the judge of what was saved."""
        return not self.is_bound or super().valid_value(value)


# --- what a connector answers ---------------------------------------------------------------------


@dataclass(frozen=True)
class Pending:
    """The vendor accepted a job; `follow_up(api, job)` is asked until it is settled. `job` is JSON and holds no secret."""

    job: Json
    message: str


@dataclass(frozen=True)
class HandedOver:
    """The client carries it out (redirect, cart, native purchase); `instruction` is in the API's answer."""

    instruction: Json
    message: str
    wants_report: bool = False  # True: open until the client says what came of it


Result = str | Pending | HandedOver
"""What `perform()` returns: the sentence of what was done, or one of the two above."""


class Action:
    """One thing that a connector can do for one person."""

    key: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str] = ""
    needs: ClassVar[Needs] = NOTHING
    replay: ClassVar[Replay]  # no default: an action that does not say is refused
    replay_proof: ClassVar[str]  # the vendor's sentence or URL that the claim stands on
    key_kept: ClassVar[timedelta | None] = None  # KEY: how long the vendor recognises one
    settles_within: ClassVar[timedelta] = timedelta(hours=24)  # Pending: longer than this is uncertain
    check_at: ClassVar[str] = ""  # where a person looks when an answer was lost
    from_browser: ClassVar[frozenset[str]] = frozenset()  # inputs that may come from a form input or a trait

    class Inputs(forms.Form):
        """No inputs, unless the action declares some."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a declaration that does not say why it may run again."""
        super().__init_subclass__(**options)
        if "key" in cls.__dict__:
            if not isinstance(getattr(cls, "replay", None), Replay) or not getattr(cls, "replay_proof", ""):
                raise TypeError(f"{cls.__name__} does not say why it may run again: set `replay` and `replay_proof`.")
            if cls.replay is Replay.KEY and cls.key_kept is None:
                raise TypeError(f"{cls.__name__} relies on the vendor's idempotency key: set `key_kept`.")
            if cls.replay is Replay.CHECK and cls.already_done is Action.already_done:
                raise TypeError(f"{cls.__name__} is CHECK and has no `already_done`.")

    def already_done(self, api: "Api", user: Json, inputs: Values) -> "str | Pending | None":
        """Look whether it is so already. Returns the sentence that says so, or the job under way, or None."""
        raise NotImplementedError

    def perform(self, api: "Api", user: Json, inputs: Values) -> Result:
        """Do it. `user` has the needed traits; the sentence returned holds a value taken out of the vendor's answer."""
        raise NotImplementedError

    def follow_up(self, api: "Api", job: Json) -> "str | Pending":
        """Ask what became of a job, by reads only: the sentence when it is done, Pending while it is not; raise Rejected."""
        raise NotImplementedError

    def check_inputs(self, api: "Api", inputs: Values) -> list[str]:
        """Look at the vendor whether fixed inputs are valid, when a binding is saved. Returns what is wrong, as sentences."""
        return []


@dataclass(frozen=True)
class Choice:
    """A row of a catalogue: `key` is what an input stores."""

    key: str
    label: str
    data: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Catalogue:
    """Rows of the vendor that fill dropdowns; `fetch` reads all of them (nightly, and by button)."""

    label: str
    fetch: "Callable[[Api], Iterable[Choice]]"


@dataclass(frozen=True)
class ProbeLine:
    """One line of *Test connection*: `ok` None means that this cannot be tested, which the text says."""

    ok: bool | None
    text: str


class Connector:
    """A vendor: its settings, how to sign a request, how to read its failures, and its actions."""

    key: ClassVar[str]
    label: ClassVar[str]
    category: ClassVar[Category]
    description: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()  # other words under which people search for it
    support: ClassVar[Support] = Support.DOCUMENTATION
    docs_url: ClassVar[str] = ""
    actions: ClassVar[tuple[type[Action], ...]] = ()
    catalogues: ClassVar[Mapping[str, Catalogue]] = {}
    setup_steps: ClassVar[tuple[str, ...]] = ()
    import_steps: ClassVar[tuple[str, ...]] = ()  # how this vendor is made to drop CSVs in S3
    forbidden_is_bad_credentials: ClassVar[bool] = False  # 403 is Rejected, unless the vendor's file says otherwise
    idempotency_header: ClassVar[str] = ""  # where the key of a `Replay.KEY` action goes
    needs_connection: ClassVar[bool] = True
    timeout: ClassVar[float] = 8.0  # seconds for one request

    class Settings(forms.Form):
        """No settings, unless the connector declares some."""

    def environment(self, settings: Values) -> str:
        """Return in which environment an action would act, in one word for people ("Production", "Sandbox")."""
        return "Production"

    def is_sandbox(self, settings: Values) -> bool:
        """Whether what is done here costs nobody anything."""
        return False

    def base_url(self, settings: Values) -> str:
        """Return the URL that the segments of a request are appended to, without a trailing slash."""
        raise NotImplementedError

    def auth(self, settings: Values) -> AuthBase:
        """Return what signs a request: the only place where credentials touch one."""
        return NoAuth()

    def headers(self, settings: Values) -> Mapping[str, str]:
        """Return headers of every request, without credentials."""
        return {"Accept": "application/json"}

    def probe(self, api: "Api") -> list[ProbeLine]:
        """*Test connection*, by reads only. Raises a Failure when the vendor says no."""
        raise NotImplementedError

    def failure(self, answer: "Answer") -> Failure | None:
        """Read the vendor's own words out of an answer that is a refusal, whatever its status. None: as the status says."""
        return None

    def replayed(self, answer: "Answer") -> bool:
        """Whether a 5xx is the stored answer of an earlier try, given out again for the same idempotency key.

        Asked only where an earlier attempt sent the same key. Some vendors store failures and mark the repeat (Stripe's
        `Idempotent-Replayed` header); trying on would bring the same answer until the key is forgotten, and act then. So
        "yes" ends it as uncertain, at once.
        """
        return False

    def action(self, key: str) -> Action:
        """Return the action with this key.

        Raises:
            KeyError: there is none (it may have been taken out of the declaration since).

        """
        for declared in self.actions:
            if declared.key == key:
                return declared()
        raise KeyError(f"{self.label} has no action {key!r}.")
