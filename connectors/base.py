"""The vocabulary in which a vendor is declared: `Connector`, `Action`, what an action needs, why it may run again.

One vendor is one module in `connectors/vendors/`, a file or a package. Settings and inputs are ordinary Django forms: labels,
help texts, validation, choices and HTML come from there. A declaration that leaves out what has no safe default is refused when
it is imported (`__init_subclass__`) or by `manage.py check`.
"""

import json as jsonlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from requests.adapters import BaseAdapter
from requests.auth import AuthBase

from connectors import placeholders
from connectors.answers import Answer, retry_after, words_of
from connectors.auth import NoAuth, TokenSource
from connectors.failures import Failure, Missing, Temporary, Undocumented, refused
from connectors.placeholders import BadTemplate

if TYPE_CHECKING:
    from connectors.forwarders import Forwarder
    from connectors.http import Api
    from connectors.inbound import Inbound
    from connectors.pulls import Pull
    from connectors.pushes import TraitPush

Values = Mapping[str, Any]
"""Cleaned values of a form: a connection's settings and secrets together, or an action's inputs."""
Json = dict[str, Any]


class Category(models.TextChoices):
    """Where a connector stands in the catalogue."""

    BUILT_IN = "built_in", "Built in"
    BILLING = "billing", "Billing"
    CRM = "crm", "CRM and marketing"
    ANALYTICS = "analytics", "Analytics and events"
    STORES = "stores", "Shops and app stores"


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
    """Traits that an action needs: at least one of every group. `perform()` sees these traits and nothing else.

    It sees the `welcome` ones where they are known, and goes without where they are not. What is `given` is no trait: it is
    known of everybody (`USER_ID`, `ANSWERED_AT`).
    """

    groups: tuple[tuple[str, ...], ...] = ()
    welcome: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    def __and__(self, other: "Needs") -> "Needs":
        """Both, each group once."""
        groups = tuple(dict.fromkeys(self.groups + other.groups))
        return Needs(groups, self.welcome + other.welcome, tuple(dict.fromkeys(self.given + other.given)))

    @property
    def traits(self) -> tuple[str, ...]:
        """Every trait that is named, each once, in order."""
        return tuple(dict.fromkeys([*(name for group in self.groups for name in group), *self.welcome]))

    @property
    def in_words(self) -> str:
        """E.g. "cleeng_subscription_id or cleeng_customer_id"."""
        return ", and ".join(" or ".join(group) for group in self.groups) or "nothing"

    def pick(self, traits: Mapping[str, Any], given: Mapping[str, Any] = {}) -> Json:
        """Return the needed traits that are known, and what is to be given of `given`.

        Raises:
            Missing: a group of which none is known; the message names it.

        """
        known = {name: traits[name] for name in self.traits if traits.get(name) not in (None, "")}
        for group in self.groups:
            if not any(name in known for name in group):
                raise Missing(self.lacking(group))
        return known | {name: given[name] for name in self.given}

    @staticmethod
    def lacking(group: Sequence[str]) -> str:
        """Return the sentence for a group of which none is known."""
        return f"No {' or '.join(group)} is known of this subscriber."

    def met_by(self, traits: Mapping[str, Any]) -> bool:
        """Whether a subscriber with these traits has what is needed."""
        return all(any(traits.get(name) not in (None, "") for name in group) for group in self.groups)


def one_of(*names: str) -> Needs:
    """At least one of these traits, in order of preference."""
    return Needs((names,))


def all_of(*names: str) -> Needs:
    """Every one of these traits."""
    return Needs(tuple((name,) for name in names))


def if_known(*names: str) -> Needs:
    """None of these traits is needed, and `perform()` sees those that are known."""
    return Needs(welcome=names)


def given(*names: str) -> Needs:
    """What Engage knows of everybody: `USER_ID`, `ANSWERED_AT`."""
    return Needs(given=names)


NOTHING = Needs()
USER_ID, ANSWERED_AT = "user id", "answered at"
"""Names under which `perform()` sees what is `given()`: the App's own id of the person, a text, and when they answered, a
datetime. No trait can be called so."""

RESOLVED = "(resolved)"
"""Among an action's inputs: what `Action.resolve_inputs()` found for them when they were saved. No input is called so."""


# --- form fields that only a declaration needs ----------------------------------------------------


class SecretField(forms.CharField):
    """A credential: stored encrypted, never shown again; left blank in a form it stays what it is.

    Args:
        usual_length: another length is warned about, not refused.
        goes_with: the name of an optional setting with which it is needed, and without which it is not: the client id of a
            vendor's second cloud, say.
        names_account: no setting says which account it is, this does: another value than the stored one raises the
            connection's generation, as a changed `identity()` does, and asks for no other secret again.
        options: as every field of Django takes them.

    """

    def __init__(
        self, *, usual_length: int | None = None, goes_with: str = "", names_account: bool = False, **options: Any
    ) -> None:
        self.usual_length, self.goes_with, self.names_account = usual_length, goes_with, names_account
        if goes_with:
            options.setdefault("required", False)
        options.setdefault(
            "widget", forms.PasswordInput(render_value=False, attrs={"autocomplete": "off", "data-secret": ""})
        )
        super().__init__(strip=True, **options)

    @staticmethod
    def values_in(stored: str) -> tuple[str, ...]:
        """Return the secrets that a stored value holds."""
        return (stored,) if stored else ()


class SigningSecretField(SecretField):
    """Secrets with which a vendor signs its webhooks: one, or several with blanks between while one replaces another."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("required", False)
        options.setdefault("label", "Webhook signing secret")
        super().__init__(**options)

    @staticmethod
    def values_in(stored: str) -> tuple[str, ...]:
        """Return each of them."""
        return tuple(stored.split())


Field = TypeVar("Field", bound=forms.Field)


def identity(form_field: Field, part: Callable[[Any], Any] | None = None) -> Field:
    """Mark a setting that chooses the account or the host that secrets go to.

    Changing it demands the secrets again and raises the connection's generation.

    Args:
        part: what of a value chooses, where not all of it does (of a URL, the server); not asked of no value.

    """
    form_field.is_identity = True  # type: ignore[attr-defined]
    form_field.identity_part = lambda value: part(value) if part and value else value  # type: ignore[attr-defined]
    return form_field


def account_choice(label: str, choices: Sequence[tuple[str, str]], *, help_text: str) -> forms.ChoiceField:
    """Return a setting that chooses among a vendor's hosts or environments, which keep accounts of their own."""
    return identity(forms.ChoiceField(choices=choices, label=label, help_text=help_text))


def live_or_sandbox(help_text: str) -> forms.ChoiceField:
    """Return the setting `environment` of a vendor that keeps production and sandbox apart."""
    return account_choice("Environment", [("live", "Production"), ("sandbox", "Sandbox")], help_text=help_text)


class PatternField(forms.RegexField):
    """A text of a certain shape, which is told once: in the help, and when it does not fit.

    All of the text must fit the pattern, a regular expression; blanks around it are cut off.
    """

    def __init__(self, pattern: str, *, shape: str, help_text: str = "", **options: Any) -> None:
        told = {"help_text": f"{help_text} {shape}".strip(), "error_messages": {"invalid": f"It does not fit: {shape}"}}
        super().__init__(rf"\A(?:{pattern})\Z", **{"strip": True, **told, **options})


def object_in(text: str) -> Json:
    """Return the JSON object that a text holds.

    Raises:
        ValidationError: it holds none.

    """
    try:
        found = jsonlib.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValidationError("Write a JSON object: names and values between { and }.", code="invalid")
    return found


def _no_number(name: str) -> float:
    raise ValueError(name)


class ObjectField(forms.CharField):
    """A JSON object, kept as it was typed; `object_in()` reads it."""

    def __init__(self, *, example: str, help_text: str, max_length: int = 10_000, **options: Any) -> None:
        area = forms.Textarea(attrs={"rows": 3})
        told = f"{help_text} As JSON: {example}."
        super().__init__(max_length=max_length, widget=area, help_text=told, **options)

    def validate(self, value: str) -> None:
        """Refuse what is none."""
        super().validate(value)
        if value:
            object_in(value)


class TemplateField(forms.CharField):
    """A text in which traits are filled in (`connectors.placeholders`): those without a default are needed of the person."""

    def __init__(self, *, help_text: str, rows: int = 4, max_length: int = 10_000, **options: Any) -> None:
        told = (
            f"{help_text} %first_name|there% stands for a trait, with what is written without it; %% is a percent sign."
        )
        options.setdefault("widget", forms.Textarea(attrs={"rows": rows}) if rows > 1 else forms.TextInput)
        super().__init__(max_length=max_length, help_text=told, **options)

    def validate(self, value: str) -> None:
        """Refuse what cannot be filled in."""
        super().validate(value)
        try:
            placeholders.traits_in(value)
        except BadTemplate as wrong:
            raise ValidationError(str(wrong), code="invalid") from None


class CatalogueField(forms.ChoiceField):
    """A choice from rows synced from the vendor (`Connector.catalogues`); the form never touches the network.

    `bind_catalogue` is called by the form's maker with the connection's rows.

    Args:
        catalogue: of the connector.
        within: another input of the same action; only rows that belong to its choice (`Choice.within`) are offered.

    """

    def __init__(self, catalogue: str, *, within: str = "", **options: Any) -> None:
        self.catalogue = catalogue
        self.within = within
        self.belongs: Mapping[str, Sequence[str]] = {}
        self.is_bound = False
        super().__init__(**options)

    def bind_catalogue(
        self, choices: Iterable[tuple[str, str]], belongs: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """Offer these rows (key, label); `belongs` says to what a row belongs that does not belong to everything."""
        self.is_bound = True
        self.belongs = belongs or {}
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
class Confirmed:
    """The vendor shows that it is done, and says something of the person: `traits` (None removes one) about `subject`."""

    message: str
    traits: Json
    subject: str = ""  # as `connectors.inbound.Learned` has it: of one subject the newest word counts
    receipt: str = ""  # the vendor's name of the purchase that shows it: it counts for one execution of the account


@dataclass(frozen=True)
class HandedOver:
    """The client carries it out (redirect, cart, native purchase); `instruction` is in the API's answer."""

    instruction: Json
    message: str
    wants_report: bool = False  # True: open until the client says what came of it


Result = str | Confirmed | Pending | HandedOver
"""What `perform()` returns: the sentence of what was done, or one of those above."""


class Action:
    """One thing that a connector can do for one person."""

    key: ClassVar[str]
    label: ClassVar[str]
    description: ClassVar[str] = ""
    needs: ClassVar[Needs] = NOTHING
    replay: ClassVar[Replay]  # no default: an action that does not say is refused
    replay_proof: ClassVar[str]  # the vendor's sentence or URL that the claim stands on
    key_kept: ClassVar[timedelta | None] = (
        None  # KEY, and CHECK that relies on a key too: how long the vendor knows one
    )
    settles_within: ClassVar[timedelta] = timedelta(hours=24)  # Pending: longer than this is uncertain
    check_at: ClassVar[str] = ""  # where a person looks when an answer was lost
    from_browser: ClassVar[frozenset[str]] = frozenset()  # inputs that may come from a form input or a trait
    part: ClassVar[str] = ""  # which of `Connector.parts` it signs in to
    by_client: ClassVar[str] = ""  # what the app must be able to do, where it is the app that carries the action out

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

    def needs_with(self, inputs: Values) -> Needs:
        """Return what it needs of a person with these inputs: `needs`, and the traits that their texts fill in."""
        texts = (inputs.get(name) for name, one in self.Inputs.base_fields.items() if isinstance(one, TemplateField))
        needs = self.needs
        for text in texts:
            with suppress(BadTemplate):  # the form refuses it, in words
                for trait in placeholders.traits_in(text if isinstance(text, str) else ""):
                    needs &= all_of(trait.name) if trait.default is None else if_known(trait.name)
        return needs

    def already_done(self, api: "Api", user: Json, inputs: Values) -> "str | Pending | None":
        """Look whether it is so already. Returns the sentence that says so, or the job under way, or None."""
        raise NotImplementedError

    def perform(self, api: "Api", user: Json, inputs: Values) -> Result:
        """Do it. `user` has the needed traits; the sentence returned holds a value taken out of the vendor's answer."""
        raise NotImplementedError

    def claimed(self, instruction: Json, detail: Json) -> Json | None:
        """Return what to ask the vendor about when the app says that it is done: the job of `follow_up()`.

        None: the app's word counts, since nobody else can be asked. Raises Rejected where `detail` lacks what it must hold.
        """
        return None

    def follow_up(self, api: "Api", job: Json) -> "str | Confirmed | Pending":
        """Ask what became of a job: the sentence when it is done, Pending while it is not; raise Rejected where it has failed.

        A request's own Rejected is left as it is: the vendor refused the question, which is asked again. Where such an answer is
        the job's end, raise another.

        By reads, and by writes which the vendor shows, so that the next look makes none of them twice (an acknowledgement).
        """
        raise NotImplementedError

    def unavailable(self, settings: Values) -> str:
        """Say why a connection with these settings cannot do it (a part of the vendor is not set up); empty where it can."""
        return ""

    def check_inputs(self, api: "Api", inputs: Values) -> list[str]:
        """Look at the vendor whether fixed inputs are valid, when a binding is saved. Returns what is wrong, as sentences."""
        return []

    def resolve_inputs(self, api: "Api", inputs: Values) -> Values:
        """Return values that the vendor has for what was typed (a SKU's variant), by reads only; `inputs` then holds both.

        Asked when a binding is saved, and every night; an attempt asks only where nothing of this account is stored, as
        for `manage.py run_action`. Raises Rejected where what was typed names nothing, or several things.
        """
        return {}


class DesiredState(Action):
    """An action that brings one thing of the vendor's into a state: find it, look how it stands, and only then change it.

    What `stands()` reads is the proof both times: before, that nothing is left to do; afterwards, that the vendor did it.
    """

    replay = Replay.CHECK

    def find(self, api: "Api", user: Json, inputs: Values) -> Answer:
        """Return the thing as the vendor has it; raise Rejected where there is none, or several and nothing says which."""
        raise NotImplementedError

    def stands(self, api: "Api", thing: Answer, inputs: Values) -> "str | Pending | None":
        """Return the sentence that says that it is as wished, or the job under way; None where it is not so."""
        raise NotImplementedError

    def change(self, api: "Api", thing: Answer, inputs: Values) -> "Answer | str | Pending":
        """Change it. Returns the thing out of the vendor's answer; where the answer shows something else, what came of it."""
        raise NotImplementedError

    def already_done(self, api: "Api", user: Json, inputs: Values) -> "str | Pending | None":
        """It stands so."""
        return self.stands(api, self.find(api, user, inputs), inputs)

    def perform(self, api: "Api", user: Json, inputs: Values) -> "str | Pending":
        """Change it, and believe the answer only where it shows what was asked for."""
        changed = self.change(api, self.find(api, user, inputs), inputs)
        if not isinstance(changed, Answer):
            return changed
        if stands := self.stands(api, changed, inputs):
            return stands
        raise Undocumented(
            f"{api.connector.label} accepted the request, and its answer does not show what was asked for."
        )


@dataclass(frozen=True)
class Choice:
    """A row of a catalogue.

    Args:
        key: what an input stores.
        within: the rows of another catalogue that it belongs to; empty: all of them.

    """

    key: str
    label: str
    data: Json = field(default_factory=dict)
    within: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """Rows of the vendor that fill dropdowns; `fetch` reads all of them (nightly, and by button)."""

    label: str
    fetch: "Callable[[Api], Iterable[Choice]]"


def listed(
    *segments: str,
    key: "str | Callable[[Answer], str]",
    label: "str | Callable[[Answer], str]",
    where: Callable[[Answer], bool] = lambda _: True,
    params: Values | None = None,
) -> "Callable[[Api], Iterator[Choice]]":
    """Declare the `fetch` of a catalogue that is one list of the vendor's, read to its end.

    Args:
        segments: the list's address.
        key: what an input stores, with members in braces ("code-{code}") or a reading of the row; each comes once.
        label: what people see, written in the same way ("{name} ({code})").
        where: which rows count.
        params: the list's query.

    """

    def told(row: Answer, what: "str | Callable[[Answer], str]") -> str:
        return row.fill(what) if isinstance(what, str) else what(row)

    def fetch(api: "Api") -> Iterator[Choice]:
        seen: set[str] = set()
        for row in api.pages(*segments, params=params):
            if where(row) and (found := told(row, key)) not in seen:
                seen.add(found)
                yield Choice(found, told(row, label))

    return fetch


@dataclass(frozen=True)
class Rate:
    """How many requests a vendor takes of one account, as it states it: so many in so many seconds.

    They leave evenly spaced, all workers and everything that the connection does taken together.
    """

    requests: int
    seconds: float

    @property
    def spacing(self) -> float:
        """Seconds from one request to the next."""
        return self.seconds / self.requests


def per_second(requests: int) -> Rate:
    """So many requests in a second."""
    return Rate(requests, 1.0)


def per_minute(requests: int) -> Rate:
    """So many requests in a minute."""
    return Rate(requests, 60.0)


@dataclass(frozen=True)
class ProbeLine:
    """One line of *Test connection*: `ok` None means that this cannot be tested, which the text says."""

    ok: bool | None
    text: str
    part: str = ""  # of which of `Connector.parts`; the test fills it in


WRITING_UNTESTED = ProbeLine(None, "Writing cannot be tested without changing something.")


def busy(message: str, *, code: str = "") -> Temporary:
    """Return the failure of a vendor that did nothing now and may do it later, for `Connector.codes`."""
    return Temporary(message, code=code, sent=False)


BY_STATUS = frozenset({401, 408, 425, 429})
"""Refusals whose status says what happens next, and whose words do not, unless the vendor's code is in `Connector.codes`."""


@cache
def _secret_fields(form: type[forms.Form]) -> Mapping[str, SecretField]:
    return {name: one for name, one in form.base_fields.items() if isinstance(one, SecretField)}


class Connector:
    """A vendor: its settings, how to sign a request, how to read its failures, and its actions."""

    key: ClassVar[str]
    label: ClassVar[str]
    category: ClassVar[Category]
    description: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()  # other words under which people search for it
    support: ClassVar[Support] = Support.DOCUMENTATION
    docs_url: ClassVar[str] = ""
    forwarder: "ClassVar[type[Forwarder] | None]" = None  # of an analytics connector, which gets every event
    push: "ClassVar[type[TraitPush] | None]" = None  # how it takes traits, at night too (`connectors.pushes`)
    actions: ClassVar[tuple[type[Action], ...]] = ()
    reread: ClassVar[type[Action] | None] = None  # how a person is read again at night (`connectors.rereads`)
    catalogues: ClassVar[Mapping[str, Catalogue]] = {}
    inbound: ClassVar["Inbound | None"] = None  # its webhooks (`connectors.inbound`)
    pulls: "ClassVar[Mapping[str, Pull]]" = {}  # what is read into traits at night (`connectors.pulls`)
    base_urls: ClassVar[Mapping[str, str]] = {}  # a choice of the setting `chosen_by` -> its URL
    chosen_by: ClassVar[str] = "environment"
    page_query: ClassVar[Mapping[str, Any]] = {}  # of every list: how many rows a page has
    # Members one of which holds a page's rows; "", the last of them, is the page itself.
    rows_in: ClassVar[tuple[str, ...]] = ("data",)
    may_not_page: ClassVar[bool] = False  # a list that comes once more instead of its next page was whole
    # Where files may lie that an answer names (`Api.file`): "*" stands for one part of a host's name, and never for a dot.
    file_hosts: ClassVar[tuple[str, ...]] = ()
    codes: ClassVar[Mapping[str, Callable[..., Failure]]] = {}  # the vendor's code -> what a refusal with it is
    forbidden_is_bad_credentials: ClassVar[bool] = False  # 403 is Rejected, unless the vendor's file says otherwise
    idempotency_header: ClassVar[str] = ""  # where the key of a `Replay.KEY` action goes
    idempotency_methods: ClassVar[frozenset[str]] = frozenset()  # writes that carry the key; empty: all
    # For a key that it knows the vendor gives out its first answer again, even "not now": the next try then has a new key.
    key_keeps_refusals: ClassVar[bool] = False
    # No read can prove the secrets: when they are refused, the connection is held until a person has tested or saved it.
    probe_proves_secrets: ClassVar[bool] = True
    timeout: ClassVar[float] = 8.0  # seconds for one request
    at_once: ClassVar[int | None] = None  # requests that the vendor carries out together for an account, if it says so
    needs_connection: ClassVar[bool] = True
    calls_out: ClassVar[bool] = True  # False: nobody is called; a connection holds what the App's client carries out
    # What speaks another protocol than HTTP/1.1, by the beginning of its URLs (`connectors.smtp`, `connectors.http2`): everything
    # else stays the same.
    protocols: ClassVar[Mapping[str, type[BaseAdapter]]] = {}
    # What signs in with credentials of its own, by name, with its own test in place of `probe()`: refused ones hold its actions.
    parts: "ClassVar[Mapping[str, Callable[[Api], Iterable[ProbeLine]]]]" = {}
    several: ClassVar[bool] = False  # an App may have several connections, told apart by the setting `name`
    setup_steps: ClassVar[tuple[str, ...]] = ()
    import_steps: ClassVar[tuple[str, ...]] = ()  # how this vendor is made to drop CSVs in S3
    example: ClassVar[str] = ""  # of code that a person writes in its settings

    class Settings(forms.Form):
        """No settings, unless the connector declares some. A form may add secrets that its other settings name."""

    def environment(self, settings: Values) -> str:
        """Return in which environment an action would act, in one word for people ("Production", "Sandbox")."""
        return "Sandbox" if self.is_sandbox(settings) else "Production"

    def is_sandbox(self, settings: Values) -> bool:
        """Whether what is done here costs nobody anything."""
        return bool(settings.get("environment") == "sandbox")

    def base_url(self, settings: Values) -> str:
        """Return the URL that the segments of a request are appended to, without a trailing slash."""
        return self.base_urls[settings[self.chosen_by]]

    def hosts(self, settings: Values) -> Mapping[str, str]:
        """Return the vendor's further hosts by name: their base URLs. `api.at(name)` goes there.

        They are built from settings, never from an answer: no answer chooses where we call. ENGAGE_VENDOR_URLS replaces
        them too: what it names for the connector, followed by the name.
        """
        return {}

    def rate(self, settings: Values) -> Rate | None:
        """Return how many requests the vendor takes of this account. None: it states no number; its 429 is heeded anyway.

        Quote the vendor above it. Every request of the connection counts: reads, tests, refreshed catalogues, batches.
        """
        return None

    def auth(self, settings: Values) -> AuthBase | TokenSource:
        """Return what signs a request: the only place where credentials touch one."""
        return NoAuth()

    def auth_at(self, host: str, settings: Values) -> AuthBase | TokenSource:
        """Return what signs a request to a further host. Nothing does, unless the connector says so."""
        return NoAuth()

    def headers(self, settings: Values) -> Mapping[str, str]:
        """Return headers of every request, without credentials."""
        return {"Accept": "application/json"}

    def probe(self, api: "Api") -> list[ProbeLine]:
        """*Test connection*, by reads only. Raises a Failure when the vendor says no."""
        raise NotImplementedError

    def rows_of(self, page: Answer) -> list[Answer]:
        """Return the rows of a list's page."""
        return page.rows(next((name for name in self.rows_in if page.get(name) is not None), self.rows_in[-1]))

    def next_page(self, page: Answer, query: Values) -> Mapping[str, Any] | None:
        """Return the query of the page after this one, which `query` asked for; None where it is the last.

        Only a query: an answer never chooses where we call (`answers.query_of` takes it out of a URL).
        """
        return None

    def said(self, answer: Answer) -> tuple[str, str]:
        """Return the vendor's own code and words out of an answer that is a refusal; empty where it has none."""
        return "", words_of(answer)

    def failure(self, answer: Answer) -> Failure | None:
        """Read a refusal: what the vendor's code means (`codes`), else the vendor's words. None: as the status says.

        A vendor that refuses inside a 200 has a reading of its own. A 5xx is never read: nobody knows how far it came.
        """
        if answer.status < 400 or answer.status >= 500:
            return None
        code, words = self.said(answer)
        if means := self.codes.get(code):
            failure = means(f"{self.label} says: {words or code}", code=code)
            if isinstance(failure, Temporary):
                failure.after = retry_after(answer)
            return failure
        by_status = answer.status in BY_STATUS or (answer.status == 403 and self.forbidden_is_bad_credentials)
        if by_status or not (words or code):
            return None
        return refused(self.label, words, code=code)

    def replayed(self, answer: Answer) -> bool:
        """Whether a passing trouble is the stored answer of an earlier try, given out again for the same idempotency key.

        Asked only where an earlier attempt sent the same key. Some vendors store failures and mark the repeat (Stripe's
        `Idempotent-Replayed` header); trying on would bring the same answer until the key is forgotten, and act then. So
        "yes" ends it as uncertain, at once.
        """
        return False

    def secret_fields(self, settings: Values) -> Mapping[str, SecretField]:
        """Return the settings that hold secrets: those of the form, unless its fields depend on what is set."""
        return _secret_fields(self.Settings)

    def actions_of(self, settings: Values) -> tuple[type[Action], ...]:
        """Return what a connection with these settings can do: the same for all, unless its settings are the action."""
        return self.actions

    def script(self, settings: Values) -> str:
        """Return the JavaScript that browsers load by its hash while a connection is active; empty where there is none."""
        return ""

    def action(self, key: str, settings: Values) -> Action:
        """Return the action with this key, as it is in a connection with these settings.

        Raises:
            KeyError: there is none (it may have been taken out of the declaration since).

        """
        for declared in self.actions_of(settings):
            if declared.key == key:
                return declared()
        raise KeyError(f"{self.label} has no action {key!r}.")
