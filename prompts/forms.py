"""The forms in which a prompt and its actions are edited and tried."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from unfold.widgets import INPUT_CLASSES, RADIO_CLASSES, SELECT_CLASSES

from connectors.base import Action
from connectors.forms import dress, inputs_form
from connectors.models import Connection
from engage.audit.record import plain
from engage.tenancy.models import App
from prompts import templating
from prompts.bindings import fixed
from prompts.models import TAKES_LIMIT, Binding, LimitKind, OnError, Prompt
from sync import traits as traits_room

# --- a prompt -------------------------------------------------------------------------------------------------------------

INPUT_TYPES = [("text", "Text"), ("email", "E-mail address"), ("number", "Number"), ("choice", "Choice")]
MOST_INPUTS = 10
_INPUT_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
TEMPLATED = [
    "title",
    "message",
    "accept_label",
    "secondary_label",
    "decline_label",
    "text_done",
    "text_follows",
    "text_not_possible",
]
"""The texts of a prompt that may hold variables."""


class FormInputsWidget(forms.Widget):
    """Rows of name, label, type, required and choices; panel.js adds rows, and three empty ones work without it."""

    empty_rows = 3
    columns = ("name", "label", "type", "choices")

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Return the rows as HTML."""
        rows = [
            {
                **row,
                "choices": ", ".join(row["choices"])
                if isinstance(row.get("choices"), list)
                else row.get("choices", ""),
            }
            for row in value or []
        ]
        blank: dict[str, Any] = {"type": "text"}
        context = {
            "name": name,
            "rows": [*rows, *([blank] * max(1 if rows else self.empty_rows, 0))][: max(MOST_INPUTS, len(rows))],
            "blank": blank,
            "types": INPUT_TYPES,
            "input_classes": " ".join(INPUT_CLASSES),
            "select_classes": " ".join(SELECT_CLASSES),
            "disabled": bool(self.attrs.get("disabled")),
        }
        return render_to_string("prompts/prompt/form_inputs.html", context)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, Any]]:
        """Return the rows that hold anything, as they were typed."""
        columns = {column: data.getlist(f"{name}-{column}") for column in (*self.columns, "required")}
        rows = []
        for index in range(len(columns["name"])):
            row = {column: (columns[column][index : index + 1] or [""])[0].strip() for column in columns}
            if row["name"] or row["label"] or row["choices"]:
                rows.append({**row, "required": row["required"] == "yes"})
        return rows

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """The rows are left out only where the whole editor is."""
        return f"{name}-name" not in data

    def id_for_label(self, id_: str) -> str:
        """The label belongs to the group of rows, not to one field."""
        return ""


class FormInputsField(forms.Field):
    """What a prompt asks the person for: a list of {"name", "label", "type", "required", "choices"}."""

    widget = FormInputsWidget

    def to_python(self, value: Any) -> list[dict[str, Any]]:
        """Return the rows with choices as a list.

        Raises:
            ValidationError: with a sentence for every row that cannot be used.

        """
        rows: list[dict[str, Any]] = []
        wrong: list[str] = []
        for number, row in enumerate(value or [], start=1):
            choices = row.get("choices") or []
            if isinstance(choices, str):
                choices = [choice.strip() for choice in choices.split(",") if choice.strip()]
            kept = {
                "name": str(row.get("name", "")),
                "label": str(row.get("label", ""))[:120],
                "type": str(row.get("type", "")),
                "required": bool(row.get("required")),
                "choices": list(dict.fromkeys(choices)),
            }
            wrong.extend(f"Row {number}: {sentence}" for sentence in self._wrong(kept, rows))
            rows.append(kept)
        if len(rows) > MOST_INPUTS:
            wrong.append(f"A prompt asks for at most {MOST_INPUTS} things, this one for {len(rows)}.")
        if wrong:
            raise ValidationError(wrong)
        return rows

    def _wrong(self, row: Mapping[str, Any], before: list[dict[str, Any]]) -> Iterable[str]:
        if not _INPUT_NAME.fullmatch(row["name"]):
            yield "a name has up to 40 lower-case letters, digits and underscores, and begins with a letter."
        elif any(other["name"] == row["name"] for other in before):
            yield f"the name “{row['name']}” is used twice."
        if not row["label"]:
            yield "say what the person is asked (label)."
        if row["type"] not in dict(INPUT_TYPES):
            yield "choose a type."
        if row["type"] == "choice" and len(row["choices"]) < 2:
            yield "a choice needs at least two choices, separated by commas."

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare what the rows mean, not how they were typed."""
        try:
            return bool(self.to_python(initial) != self.to_python(data))
        except ValidationError:
            return True


class PromptForm(forms.ModelForm[Prompt]):
    """A prompt, for the App named by `app` (the admin sets it on a subclass)."""

    app: ClassVar[App]
    inputs = FormInputsField(label="Fields", required=False)

    class Meta:
        model = Prompt
        exclude: ClassVar[list[str]] = ["app"]
        labels: ClassVar[dict[str, str]] = {
            "url_pattern": "Pages",
            "starts_at": "Start",
            "ends_at": "End",
            "timeout_seconds": "Timeout in seconds",
            "limit_days": "N, in days",
        }

    def clean_key(self) -> str:
        """The key names one prompt of the App, archived ones included: the API's history knows it."""
        key: str = self.cleaned_data["key"]
        other = Prompt.objects.filter(app=self.app, key=key).exclude(pk=self.instance.pk).first()
        if other is not None:
            which = "The archived prompt" if other.archived_at else "The prompt"
            raise ValidationError(f"{which} “{other.name}” has this key. Choose another.")
        return key

    def clean_timeout_seconds(self) -> int | None:
        """A prompt that goes away at once cannot be answered."""
        seconds: int | None = self.cleaned_data["timeout_seconds"]
        if seconds is not None and not 3 <= seconds <= 3600:
            raise ValidationError("Between 3 and 3,600 seconds; leave it empty to wait for an answer.")
        return seconds

    def clean_url_pattern(self) -> str:
        """Patterns are compared with the page's path."""
        pattern: str = self.cleaned_data["url_pattern"].strip()
        if pattern and not pattern.startswith(("/", "*")):
            raise ValidationError(
                "A pattern begins with / or *, e.g. /account*. It is compared with the path, without the domain."
            )
        if "?" in pattern or "#" in pattern:
            raise ValidationError("The path ends before “?” and “#”; leave them out.")
        return pattern

    def clean(self) -> dict[str, Any]:
        """What concerns several fields, said at the field that mends it."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name in TEMPLATED:
            for sentence in templating.problems(cleaned.get(name) or ""):
                self.add_error(name, sentence)
        if cleaned.get("limit") == LimitKind.EVERY_DAYS:
            if not cleaned.get("limit_days") and "limit_days" not in self.errors:
                self.add_error("limit_days", "Say after how many days a subscriber may accept again.")
        elif "limit_days" in cleaned:
            cleaned["limit_days"] = None
        starts, ends = cleaned.get("starts_at"), cleaned.get("ends_at")
        if starts and ends and ends <= starts:
            self.add_error("ends_at", "The end must come after the start.")
        return cleaned

    def unknown_variables(self) -> list[str]:
        """Return the traits that the texts use and the App has never seen, by name."""
        used = set().union(*(templating.variables(self.cleaned_data.get(name) or "") for name in TEMPLATED))
        return sorted(used - {trait.name for trait in traits_room.known(self.app)})


# --- an action of a prompt ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InputRow:
    """One input in the dialog: its field, and from where its value may come (empty: it is fixed)."""

    field: forms.BoundField
    source_name: str
    source: str
    sources: list[tuple[str, list[tuple[str, str]]]]
    errors: list[str]


class InputsForm:
    """An action's inputs: fixed, or, where the action lists them in `from_browser`, from a trait or a form input.

    Codes, offers, amounts and days never come from the browser, so most inputs are only ever fixed.
    """

    prefix = "input"

    def __init__(
        self,
        action: Action,
        connection: Connection | None,
        prompt: Prompt,
        *,
        data: Any = None,
        saved: Mapping[str, Any] | None = None,
    ) -> None:
        self.action, self.prompt, self.saved = action, prompt, saved or {}
        self.is_bound = data is not None
        self._errors: dict[str, list[str]] = {}
        self.source = {name: self._chosen(name, data) for name in action.Inputs.base_fields}
        # A code that is pasted often brings a blank along, and no field of Django's but CharField takes it off.
        typed = {name: data[name].strip() for name in data} if data is not None else None
        for name in self._sourced():
            if typed is not None:
                typed.pop(f"{self.prefix}-{name}", None)
        self.form = inputs_form(action, connection, typed, initial=fixed(self.saved), prefix=self.prefix)
        for name in self._sourced():
            self.form.fields[name].required = False

    def _sourced(self) -> list[str]:
        return [name for name, source in self.source.items() if source != "fixed"]

    def _chosen(self, name: str, data: Any) -> str:
        """Return "fixed", "trait:<name>" or "input:<name>" for an input, as typed or as saved."""
        saved = self.saved.get(name, {})
        kept = f"{saved['from']}:{saved['name']}" if saved.get("from") in {"trait", "input"} else "fixed"
        if data is None:
            return kept
        typed = str(data.get(f"source-{name}", "fixed"))
        offered = {key for _, group in self._sources(name) for key, _ in group}
        if typed in offered | {"fixed"}:
            return typed
        self._errors.setdefault(name, []).append("This value cannot come from there. Choose again.")
        return "fixed"

    def _sources(self, name: str) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return the groups of the picker; none where the input is only ever fixed."""
        if name not in self.action.from_browser:
            return []
        saved = self.saved.get(name, {})
        known = [trait.name for trait in traits_room.known(self.prompt.app)]
        asked = {str(row["name"]): str(row["label"]) for row in self.prompt.inputs}
        if saved.get("from") == "trait" and saved["name"] not in known:
            known.append(saved["name"])
        if saved.get("from") == "input":
            asked.setdefault(saved["name"], f"{saved['name']} (no longer asked for)")
        return [
            ("What the person enters", [(f"input:{key}", label) for key, label in asked.items()]),
            ("A trait of the subscriber", [(f"trait:{trait}", trait) for trait in known]),
        ]

    def is_valid(self) -> bool:
        """Whether every fixed value fits, and every other one comes from an allowed place."""
        return self.is_bound and self.form.is_valid() and not self._errors

    @property
    def has_errors(self) -> bool:
        """Whether anything is marked, a value or where it comes from."""
        return bool(self._errors or self.form.errors)

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """The inputs as a binding stores them."""
        stored: dict[str, dict[str, Any]] = {}
        for name, source in self.source.items():
            if source == "fixed":
                stored[name] = {"from": "fixed", "value": plain(self.form.cleaned_data.get(name))}
                continue
            kind, _, which = source.partition(":")
            stored[name] = {"from": kind, "name": which}
            if not self.action.Inputs.base_fields[name].required:
                stored[name]["optional"] = True
        return stored

    def refuse(self, sentence: str) -> None:
        """Show what the vendor says of the inputs: at the input, where there is only one."""
        names = list(self.form.fields)
        self.form.add_error(names[0] if len(names) == 1 else None, sentence)

    def rows(self) -> list[InputRow]:
        """The inputs as the dialog shows them."""
        return [
            InputRow(
                bound,
                f"source-{bound.name}",
                self.source[bound.name],
                self._sources(bound.name),
                [*self._errors.get(bound.name, []), *bound.errors],
            )
            for bound in self.form
        ]


class BindingForm(forms.ModelForm[Binding]):
    """What happens when an action fails, and its guards."""

    on_error = forms.ChoiceField(
        label="If it fails",
        choices=[
            (OnError.STOP, "Stop: the actions below it are not carried out"),
            (OnError.CONTINUE, "Continue with the actions below it"),
        ],
        widget=forms.RadioSelect(attrs={"class": " ".join(RADIO_CLASSES)}),
        initial=OnError.STOP,
    )
    daily_limit = forms.IntegerField(
        label="At most a day",
        min_value=1,
        max_value=1_000_000,
        initial=1000,
        help_text="More of them on one day are kept on hold, and administrators are told: a leak costs this much and no more.",
    )
    max_age_hours = forms.IntegerField(
        label="Not after",
        min_value=1,
        max_value=24 * 90,
        initial=72,
        help_text="Hours after the answer. What could not be carried out until then is kept on hold.",
    )

    class Meta:
        model = Binding
        fields: ClassVar[list[str]] = ["on_error", "daily_limit", "max_age_hours"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        dress(self)


# --- trying ---------------------------------------------------------------------------------------------------------------


class AnswerForm(forms.Form):
    """What the person would enter into a prompt, for a preview or a real run."""

    prefix = "answer"

    def __init__(self, prompt: Prompt, interaction: str, data: Any = None) -> None:
        super().__init__(data)
        kinds: dict[str, type[forms.Field]] = {"email": forms.EmailField, "number": forms.DecimalField}
        for row in prompt.inputs:
            options = {"label": row["label"], "required": row["required"] and interaction in TAKES_LIMIT}
            if row["type"] == "choice":
                empty = [] if options["required"] else [("", "---------")]
                choices = [*empty, *((choice, choice) for choice in row["choices"])]
                self.fields[row["name"]] = forms.ChoiceField(choices=choices, **options)
            else:
                self.fields[row["name"]] = kinds.get(row["type"], forms.CharField)(**options)
        dress(self)

    @property
    def answers(self) -> dict[str, Any]:
        """What was entered, as the runtime API would carry it."""
        return {name: plain(value) for name, value in self.cleaned_data.items() if value not in (None, "")}


class TestSubscriberForm(forms.Form):
    """Who becomes a test subscriber."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    user_id = forms.CharField(
        label="User id", max_length=traits_room.LONGEST_USER_ID, help_text="As your app sends it."
    )
    note = forms.CharField(
        label="Note", max_length=200, required=False, help_text="Whose account this is, e.g. “Ana's phone”."
    )
    until = forms.DateField(
        label="Ends on",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="The last day. Empty: until you remove it.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        dress(self)

    def clean_user_id(self) -> str:
        """Only ids that an App could send."""
        user_id: str = self.cleaned_data["user_id"].strip()
        if wrong := traits_room.wrong_user_id(user_id):
            raise ValidationError(wrong)
        return user_id
