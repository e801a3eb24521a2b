"""The form in which an API action is written."""

from typing import Any
from urllib.parse import urlsplit

from django import forms

from connectors import placeholders
from connectors.addresses import listed
from connectors.api_actions.endpoint import (
    KEY_HEADER,
    Endpoint,
    read_headers,
    read_pairs,
    read_path,
    server_of,
)
from connectors.base import Json, SecretField, identity
from connectors.inputs import InputsField
from connectors.placeholders import INPUT, SECRET, BadTemplate

METHODS = ("POST", "PUT", "PATCH", "DELETE", "GET")
PREFIX = "secret."  # of the names of secrets among the settings
SHORTEST_SECRET = 8  # shorter ones could not be masked in what is shown
LONGEST_BODY = 100_000


class EndpointForm(forms.Form):
    """What is called, how it may be repeated, and how success is told."""

    name = forms.CharField(
        max_length=60, label="Name", help_text="As it stands in a prompt's Actions panel, e.g. “Grant premium”."
    )
    description = forms.CharField(
        max_length=200, required=False, label="Description", help_text="One sentence for whoever adds it to a prompt."
    )
    method = forms.ChoiceField(choices=[(method, method) for method in METHODS], label="Method")
    url = identity(
        forms.CharField(
            max_length=2000,
            label="URL",
            help_text="E.g. https://api.example.com/customers/%customer_id%. What is filled in is encoded, each part on its own. "
            "Only another server asks for the secrets again.",
        ),
        part=server_of,
    )
    headers = forms.CharField(
        required=False,
        label="Headers",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One a line, e.g. Authorization: Bearer %secret.token%. A field for each secret appears below.",
    )
    params = forms.CharField(
        required=False,
        label="Query parameters",
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="One a line, e.g. plan=%input.plan%. No secrets: addresses stand in logs.",
    )
    body = forms.CharField(
        required=False,
        max_length=LONGEST_BODY,
        label="JSON body",
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
        help_text='Placeholders stand in quotes: {"age": "%age%"} sends a number where the trait is one. '
        "%trait|default% says what is sent without it, %% is a percent sign.",
    )
    inputs = InputsField()
    replay = forms.ChoiceField(
        label="When an answer is lost",
        choices=[
            ("NEVER", "A repeat could act twice: a person decides"),
            ("KEY", f"Our endpoint recognises a repeat by the {KEY_HEADER} header"),
            ("NATURAL", "The request sets a state: repeating it changes nothing"),
        ],
        help_text=f"An {KEY_HEADER} header is sent in any case, with the same key in every try of one execution.",
    )
    key_hours = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=24 * 365,
        label="Recognised for",
        help_text=f"Hours for which your endpoint remembers an {KEY_HEADER}. Needed only where it recognises one.",
    )
    success_path = forms.CharField(
        required=False,
        max_length=200,
        label="Success is told by",
        help_text="A place in the answer's JSON, e.g. result.status or items.0.ok. Left empty, every 2xx answer is success.",
    )
    success_value = forms.CharField(
        required=False,
        max_length=200,
        label="Value that tells it",
        help_text="E.g. granted, true or 7. Anything else is a refusal.",
    )
    success_text = forms.CharField(
        required=False,
        max_length=200,
        label="Words for success",
        help_text="As Live shows it, e.g. “Premium is granted”.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        told = self.data if self.is_bound else self.initial
        for name in placeholders.secrets_named(*(str(told.get(part) or "") for part in ("headers", "body"))):
            self.fields[PREFIX + name] = SecretField(
                label=f"Secret “{name}”",
                min_length=SHORTEST_SECRET,
                max_length=5000,
                names_account=True,  # at many an endpoint nothing else does
                error_messages={"required": f"Enter it once: %secret.{name}% is used above."},
                help_text=f"Stands where %secret.{name}% stands. Stored encrypted and never shown again.",
            )

    def _read(self, name: str, reader: Any) -> str:
        text = str(self.cleaned_data[name])
        try:
            reader(text)
        except BadTemplate as wrong:
            raise forms.ValidationError(str(wrong)) from None
        return text

    def clean_url(self) -> str:
        """A URL that can be called, whose server is fixed, and over TLS unless the operator listed it."""
        url = self._read("url", read_path)
        parts = urlsplit(server_of(url))
        try:
            port = parts.port
        except ValueError:
            raise forms.ValidationError("There is no such port.") from None
        if parts.scheme == "http" and not listed(parts.hostname or "", port or 80):
            raise forms.ValidationError("Begin with https://; over http everybody on the way reads what is sent.")
        return url

    def clean_headers(self) -> str:
        """Headers that can be sent."""
        return self._read("headers", read_headers)

    def clean_params(self) -> str:
        """Parameters that can be read."""
        return self._read("params", lambda text: read_pairs(text, "=", "a parameter as name=value"))

    def clean_body(self) -> str:
        """JSON, or nothing."""
        return self._read("body", lambda text: text.strip() and placeholders.parse_json(text))

    def clean(self) -> Json:
        """What concerns several settings, said at the one that mends it."""
        cleaned: Json = super().clean() or self.cleaned_data
        if cleaned.get("replay") == "KEY" and not cleaned.get("key_hours") and "key_hours" not in self.errors:
            self.add_error("key_hours", "Say for how many hours your endpoint recognises a repeat.")
        if bool(cleaned.get("success_path")) != bool(cleaned.get("success_value")):
            self.add_error(
                "success_value", "Success is told by a place in the answer and its value: fill in both or none."
            )
        if cleaned.get("method") == "GET" and cleaned.get("body"):
            self.add_error("body", "A GET carries no body. Choose another method, or use query parameters.")
        if not {"url", "headers", "params", "body", "inputs"} & set(self.errors):
            self._check_names(Endpoint.read(cleaned))
        return cleaned

    def _check_names(self, endpoint: Endpoint) -> None:
        declared = {one.name for one in endpoint.inputs}
        parts = (
            ("url", endpoint.segments),
            ("headers", endpoint.headers),
            ("params", endpoint.params),
            ("body", endpoint.body),
        )
        for name, part in parts:
            for placeholder in dict.fromkeys(placeholders.placeholders(part)):
                if placeholder.kind == SECRET and name in {"url", "params"}:
                    self.add_error(name, f"{placeholder} would stand in logs here. Put it into a header or the body.")
                if placeholder.kind == INPUT and placeholder.name not in declared:
                    self.add_error(
                        name, f"{placeholder} is not declared. Add a line “{placeholder.name}: …” under Inputs."
                    )
