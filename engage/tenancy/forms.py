"""Forms about people, keys and the App."""

from collections.abc import Iterable
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib.auth.forms import PasswordResetForm, SetPasswordForm
from unfold.forms import AuthenticationForm
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from engage.tenancy import domains
from engage.tenancy.mail import send_sparingly
from engage.tenancy.models import App, DeliveryMode, User
from engage.tenancy.rates import HOUR, one_address, within
from engage.tenancy.roles import Role

MOST_LINKS_BY_ADDRESS = 20
"""New passwords that one address may ask for in an hour, for whomever."""


class SignInForm(AuthenticationForm):  # type: ignore[misc]
    """E-mail address and password. Every failure reads the same, whether there is such a person or not."""

    error_messages = {"invalid_login": "This e-mail address and password do not fit together."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "E-mail address"
        self.fields["username"].widget.attrs["autocomplete"] = "username"
        # An address field lets phones show the right keyboard.
        self.fields["username"].widget.input_type = "email"

    def get_invalid_login_error(self) -> forms.ValidationError:
        """Return the one sentence."""
        return forms.ValidationError(self.error_messages["invalid_login"], code="invalid_login")


class PasswordForm(forms.Form):
    """One's own password, once more."""

    password = forms.CharField(
        label="Your password", widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "current-password"})
    )


class CodeForm(forms.Form):
    """A code of an authenticator app, or a recovery code."""

    code = forms.CharField(
        label="Code",
        max_length=40,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg] # generic in the stubs only
    """A new password, twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})


class AcceptForm(NewPasswordForm):
    """What somebody new tells of themselves when they accept an invitation."""

    name = forms.CharField(
        max_length=120, label="Your name", widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "name"})
    )
    field_order = ("name", "new_password1", "new_password2")


class ForgottenPasswordForm(PasswordResetForm):
    """Asks for the address. The answer is the same for everybody, and takes the same time: the e-mail leaves afterwards."""

    email = forms.EmailField(
        label="E-mail address", max_length=254, widget=UnfoldAdminEmailInputWidget(attrs={"autocomplete": "email"})
    )

    def get_users(self, email: str) -> Iterable[User]:
        """Return the person with this address; also one who has not set a first password yet."""
        return User.objects.filter(email=email.strip().lower(), is_active=True)

    def save(self, *args: Any, **options: Any) -> None:
        """Send the link, unless this address or for this person too many were asked for. Nobody can tell."""
        if within(f"forgotten:{one_address(options['request'])}", MOST_LINKS_BY_ADDRESS, HOUR):
            super().save(*args, **options)

    def send_mail(
        self,
        subject_template_name: str,
        email_template_name: str,
        context: dict[str, Any],
        from_email: str | None,
        to_email: str,
        html_email_template_name: str | None = None,
    ) -> None:
        """Send the link."""
        send_sparingly(context["user"], "Set a new password for Engage", email_template_name, context)


class InviteForm(forms.Form):
    """Who is invited as what."""

    email = forms.EmailField(
        label="E-mail address", max_length=254, widget=UnfoldAdminEmailInputWidget(attrs={"autocomplete": "off"})
    )
    role = forms.ChoiceField(label="Role", widget=UnfoldAdminRadioSelectWidget)

    def __init__(self, *args: Any, roles: Iterable[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [(role.value, role.label) for role in roles]  # type: ignore[attr-defined]

    def clean_email(self) -> str:
        """Addresses are kept in lower case."""
        return str(self.cleaned_data["email"]).strip().lower()


class RoleForm(forms.Form):
    """Another role for somebody."""

    role = forms.ChoiceField(label="Role", widget=UnfoldAdminSelectWidget)

    def __init__(self, *args: Any, roles: Iterable[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [(role.value, role.label) for role in roles]  # type: ignore[attr-defined]


class OriginsField(forms.CharField):
    """Origins, one a line."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 4})

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        """Return the origins as browsers send them, each once.

        Raises:
            ValidationError: a line is not an origin.

        """
        lines = [line.strip() for line in super().clean(value).splitlines() if line.strip()]
        return list(dict.fromkeys(domains.origin(line) for line in lines))


class AppForm(forms.ModelForm[App]):
    """What an App is called, when its day begins, and which sites may call the runtime API."""

    time_zone = forms.ChoiceField(
        label="Time zone",
        choices=lambda: [(zone, zone.replace("_", " ")) for zone in sorted(available_timezones())],
        widget=UnfoldAdminSelectWidget,
        help_text="Days, schedules and times are shown in it.",
    )
    domains = OriginsField(
        label="Domains",
        required=False,
        help_text="Sites whose pages may call the runtime API, one a line, e.g. https://www.example.com",
    )

    class Meta:
        model = App
        fields = ("name", "time_zone", "domains")
        widgets = {"name": UnfoldAdminTextInputWidget}


class NewAppForm(forms.ModelForm[App]):
    """One more App of a company: `instance` names the company."""

    class Meta:
        model = App
        fields = ("name", "key")
        widgets = {"name": UnfoldAdminTextInputWidget, "key": UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"})}
        help_texts = {
            "name": "What the console calls it.",
            "key": "Short name for commands, e.g. streamly-kids: letters, digits, hyphens. It stays when the name changes.",
        }
        error_messages = {"key": {"unique": "This key is taken. Choose another one."}}

    def clean_name(self) -> str:
        """A company's Apps are told apart by their names."""
        name = str(self.cleaned_data["name"])
        if App.objects.filter(company=self.instance.company, name=name).exists():
            raise forms.ValidationError("Your company has an App with this name already.")
        return name


class ModeForm(forms.Form):
    """Whose answers are carried out."""

    mode = forms.ChoiceField(label="Delivery mode", choices=DeliveryMode.choices)
