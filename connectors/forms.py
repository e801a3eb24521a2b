"""The forms that people fill in: a connection's settings and an action's inputs, made from the declarations."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django import forms
from django.utils.safestring import SafeString
from unfold.widgets import CHECKBOX_CLASSES, INPUT_CLASSES, SELECT_CLASSES, SWITCH_CLASSES, TEXTAREA_CLASSES

from connectors import catalogues
from connectors.base import Action, CatalogueField, Connector, SecretField
from connectors.models import Connection
from engage.audit.record import plain
from engage.vault.fields import Unreadable

# Words by which password managers are told to leave a field alone; browsers put sign-in passwords into key fields.
NO_AUTOFILL = {
    "autocomplete": "off",
    "autocapitalize": "off",
    "autocorrect": "off",
    "spellcheck": "false",
    "data-1p-ignore": "",
    "data-bwignore": "",
    "data-lpignore": "true",
    "data-form-type": "other",
}


class SecretInput(forms.PasswordInput):
    """A field for a credential: never rendered with a value, hidden while typed, and no password field to a browser."""

    input_type = (
        "text"  # a "password" is filled in by browsers whatever `autocomplete` says; console.css hides the text
    )

    def __init__(self, *, usual_length: int | None = None) -> None:
        attrs: dict[str, Any] = {
            **NO_AUTOFILL,
            "data-secret": "",
            "class": " ".join([*INPUT_CLASSES, "eg-secret-input"]),
        }
        if usual_length:
            attrs["data-usual-length"] = usual_length
        super().__init__(attrs=attrs, render_value=False)


class DependentSelect(forms.Select):
    """A dropdown whose options say to which choice of another one they belong; panel.js offers those that fit."""

    template_name = "unfold/widgets/select.html"

    def __init__(self, within: str, belongs: Mapping[str, Sequence[str]]) -> None:
        super().__init__({"data-eg-within": within})
        self.belongs = belongs

    def create_option(self, name: str, value: Any, *args: Any, **options: Any) -> dict[str, Any]:
        """Say it at each option that does not belong to all."""
        made = super().create_option(name, value, *args, **options)
        if within := self.belongs.get(str(value)):
            made["attrs"]["data-eg-belongs"] = json.dumps(list(within))
        return made


class DependentChoices(forms.Form):
    """What an action's inputs get: a row of a catalogue that belongs to something is refused with something else."""

    def clean(self) -> dict[str, Any]:
        """Look at pairs of fixed choices; what comes from elsewhere is the vendor's to judge."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name, form_field in self.fields.items():
            if not isinstance(form_field, CatalogueField) or not form_field.within:
                continue
            to = form_field.belongs.get(str(cleaned.get(name)), ())
            if to and (chosen := cleaned.get(form_field.within)) and chosen not in to:
                other = self.fields[form_field.within].label or form_field.within
                self.add_error(name, f"This does not belong to what is chosen in “{other}”.")
        return cleaned


CLASSES: tuple[tuple[type[forms.Widget], list[str]], ...] = (
    (forms.CheckboxInput, SWITCH_CLASSES),
    (forms.CheckboxSelectMultiple, CHECKBOX_CLASSES),
    (forms.Select, SELECT_CLASSES),
    (forms.Textarea, TEXTAREA_CLASSES),
    (forms.TextInput, INPUT_CLASSES),
    (forms.NumberInput, INPUT_CLASSES),
    (forms.EmailInput, INPUT_CLASSES),
    (forms.URLInput, INPUT_CLASSES),
)


def dress(form: forms.BaseForm) -> None:
    """Give the fields of a declared form the console's look; secrets get a field that browsers leave alone."""
    for form_field in form.fields.values():
        if isinstance(form_field, SecretField):
            form_field.widget = SecretInput(usual_length=form_field.usual_length)
            continue
        if type(form_field.widget) is forms.Select:
            form_field.widget.template_name = "unfold/widgets/select.html"  # brings the arrow
        for kind, classes in CLASSES:
            if isinstance(form_field.widget, kind):
                form_field.widget.attrs["class"] = " ".join(
                    [*classes, form_field.widget.attrs.get("class", "")]
                ).strip()
                break


@dataclass(frozen=True)
class Row:
    """A field of the settings form, as the page shows it."""

    field: forms.BoundField
    secret: bool
    identity: bool
    names_account: bool
    stored_length: int  # of a secret; 0: none is stored
    rendered: SafeString


class SettingsForm(forms.Form):
    """A connector's `Settings`, with the rules of secrets.

    A stored secret that is left blank stays what it is, unless a setting that chooses the account or host (`identity`)
    differs from what is stored: then it is asked for again, so that a kept secret never goes to a newly typed place.
    """

    declared: Connector
    connection: Connection | None
    identity_changed = False
    required_secrets: frozenset[str] = frozenset()  # whatever is stored of them

    def prepare(self, declared: Connector, connection: Connection | None) -> None:
        """Take on the connector and its stored connection, if there is one."""
        self.declared, self.connection = declared, connection
        dress(self)
        self.required_secrets = frozenset(name for name in self.secret_names if self.fields[name].required)
        for name in self.stored_secrets:
            self.fields[name].required = False

    @property
    def secret_names(self) -> list[str]:
        """The fields that are secrets."""
        return [name for name, form_field in self.fields.items() if isinstance(form_field, SecretField)]

    @property
    def stored_secrets(self) -> dict[str, int]:
        """Name -> length of the secrets that are stored."""
        stored = self.connection.secrets_set if self.connection else {}
        return {name: stored[name] for name in self.secret_names if name in stored}

    def clean(self) -> dict[str, Any]:
        """Find out whether the account changes; if it does, ask for the secrets again."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        self._find_changes(cleaned)
        for name in self.secret_names:
            partner = cast("SecretField", self.fields[name]).goes_with
            if cleaned.get(partner) and not cleaned.get(name) and name not in {*self.stored_secrets, *self.errors}:
                self.add_error(name, f"Needed with {self.fields[partner].label}.")
        return cleaned

    def _find_changes(self, cleaned: dict[str, Any]) -> None:
        if self.connection is None:
            return
        stored = self.connection.settings
        changed = [
            name
            for name, part in self._choosers()
            if name in cleaned and part(plain(cleaned[name])) != part(stored.get(name))
        ]
        self.identity_changed = bool(changed)
        if changed:
            which = " and ".join(str(self.fields[name].label or name) for name in changed)
            for name in self.stored_secrets:
                partner = cast("SecretField", self.fields[name]).goes_with
                is_needed = name in self.required_secrets or cleaned.get(partner)
                if is_needed and not cleaned.get(name) and name not in self.errors:
                    self.add_error(
                        name,
                        f"{which} has changed, so enter this again: a stored secret is never sent to another account.",
                    )

    def _choosers(self) -> Iterator[tuple[str, Callable[[Any], Any]]]:
        """The fields that choose the account, and what of each does."""
        for name, form_field in self.fields.items():
            if getattr(form_field, "is_identity", False):
                yield name, form_field.identity_part  # type: ignore[attr-defined]

    @property
    def another_account(self) -> bool:
        """Whether what was typed is for another account than what is stored, as far as anybody can tell.

        A setting says so, or a secret that names the account. One that cannot be opened any more may have been another.
        """
        if self.connection is None or self.identity_changed:
            return self.identity_changed
        typed = {name: value for name, value in self.typed_secrets.items() if self._names_account(name)}
        try:
            return bool(typed) and not typed.items() <= self.connection.secrets().items()
        except Unreadable:
            return True

    def _names_account(self, name: str) -> bool:
        return cast("SecretField", self.fields[name]).names_account

    @property
    def new_settings(self) -> dict[str, Any]:
        """The typed settings that are no secrets, as JSON holds them."""
        return {name: plain(value) for name, value in self.cleaned_data.items() if name not in self.secret_names}

    @property
    def typed_secrets(self) -> dict[str, str]:
        """The secrets that were typed."""
        return {name: self.cleaned_data[name] for name in self.secret_names if self.cleaned_data.get(name)}

    @property
    def is_as_stored(self) -> bool:
        """Whether what is typed is what is stored."""
        return self.connection is not None and not self.typed_secrets and self.new_settings == self.connection.settings

    def secrets_in_force(self) -> dict[str, str]:
        """The typed secrets, and where one was left blank and no setting chooses another account, the stored one.

        Raises:
            Unreadable: the stored ones cannot be opened, and not all of them were typed anew.

        """
        if self.connection is None or self.identity_changed or self.stored_secrets.keys() <= self.typed_secrets.keys():
            return self.typed_secrets
        kept = {name: value for name, value in self.connection.secrets().items() if name in self.secret_names}
        return {**kept, **self.typed_secrets}

    @property
    def warnings(self) -> list[str]:
        """What is unusual and yet accepted, as sentences."""
        found = []
        for name, value in self.typed_secrets.items():
            usual = cast("SecretField", self.fields[name]).usual_length
            if usual and len(value) != usual:
                found.append(
                    f"{self.fields[name].label} has {len(value)} characters; {usual} are usual. Is it complete?"
                )
        return found

    def rows(self) -> Iterator[Row]:
        """The fields as the page shows them."""
        choosers = dict(self._choosers())
        for bound in self:
            name, identity = bound.name, bound.name in choosers
            is_secret = isinstance(bound.field, SecretField)
            yield Row(
                bound,
                is_secret,
                identity,
                is_secret and self._names_account(name),
                self.stored_secrets.get(name, 0),
                bound.as_widget(
                    attrs={"data-identity": str(choosers[name](bound.initial) or "")} if identity else None
                ),
            )


def settings_form(
    connection: Connection | None, connector: Connector, data: Mapping[str, Any] | None = None
) -> SettingsForm:
    """Return the form of a connector's settings, bound to `data` if there is any.

    Args:
        connection: what is stored; None where the connector is not set up.
        connector: whose `Settings` are asked for.
        data: what was typed (a POST); None for an unbound form.

    """
    made = cast(
        "type[SettingsForm]", type(f"{type(connector).__name__}Settings", (SettingsForm, connector.Settings), {})
    )
    initial = (
        {name: value for name, value in connection.settings.items() if name in made.base_fields} if connection else None
    )
    form = made(data, initial=initial)
    form.prepare(connector, connection)
    return form


def inputs_form(
    action: Action | type[Action],
    connection: Connection | None,
    data: Mapping[str, Any] | None = None,
    initial: Mapping[str, Any] | None = None,
    prefix: str | None = None,
) -> forms.Form:
    """Return the form of an action's inputs, its dropdowns filled from the connection's synced rows.

    Args:
        action: whose `Inputs` are asked for.
        connection: whose catalogues fill the dropdowns; None leaves them empty.
        initial: the saved inputs; a saved choice that has vanished at the vendor is still offered, and says so.

    """
    made: type[forms.Form] = type("Inputs", (DependentChoices, action.Inputs), {})
    form = made(data, initial=dict(initial or {}), prefix=prefix)
    for name, form_field in form.fields.items():
        if not isinstance(form_field, CatalogueField):
            continue
        saved = str((initial or {}).get(name) or "")
        offered = catalogues.choices(connection, form_field.catalogue, saved=saved) if connection else []
        belongs = catalogues.belongs(connection, form_field.catalogue) if connection and form_field.within else {}
        if form_field.within:
            form_field.widget = DependentSelect(form[form_field.within].auto_id, belongs)
        form_field.bind_catalogue(offered, belongs)
    dress(form)
    return form


class SamplesForm(forms.Form):
    """With what an action is previewed: a test subscriber's traits or typed ones, and inputs as they are declared.

    Args:
        action: which.
        people: the traits of test subscribers, by user id.

    """

    def __init__(
        self, action: type[Action], people: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(data)
        self._people = people
        needed = {name for group in action.needs.groups for name in group}
        if people and action.needs.traits:
            self.fields["person"] = forms.ChoiceField(
                required=False,
                label="Test subscriber",
                choices=[("", "None: the values below"), *((user_id, user_id) for user_id in people)],
                help_text="Whose traits are taken. What you type below counts instead.",
            )
        for name in action.needs.traits:
            self.fields[f"trait-{name}"] = forms.CharField(
                label=name,
                required=name in needed and "person" not in self.fields,
                help_text="A trait. 7 and true are taken as a number and as yes; “7” in quotes as a text.",
            )
        for name, form_field in action.Inputs().fields.items():
            self.fields[f"input-{name}"] = form_field
        dress(self)

    @property
    def traits(self) -> dict[str, Any]:
        """The test subscriber's traits, and the sample traits that were typed."""
        typed = {name: _as_meant(value) for name, value in self._typed("trait-")}
        return {**self._people.get(self.cleaned_data.get("person") or "", {}), **typed}

    @property
    def inputs(self) -> dict[str, Any]:
        """The sample inputs."""
        return dict(self._typed("input-"))

    def _typed(self, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in self.cleaned_data.items():
            if name.startswith(prefix) and value not in (None, ""):
                yield name.removeprefix(prefix), value


def _as_meant(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (str, int, float, bool)) else text


HELD_CHOICES = [
    ("run", "Run them now"),
    ("review", "Leave them on hold; I look at them one by one in Live"),
    ("close", "Close them; they are not carried out"),
]


class SwitchForm(forms.Form):
    """What stands beside the settings when a connection is saved: for which App, on which state of it, and its switch."""

    app = forms.IntegerField(widget=forms.HiddenInput)
    seen = forms.CharField(widget=forms.HiddenInput, required=False)
    active = forms.BooleanField(label="Active", required=False)
    untested = forms.BooleanField(label="Activate untested", required=False)
    held = forms.ChoiceField(choices=HELD_CHOICES, widget=forms.RadioSelect, required=False, label="Actions on hold")

    prefix = "connection"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        dress(self)
        self.fields["untested"].widget.attrs["class"] = " ".join(CHECKBOX_CLASSES)
