"""The form about an App's alerts."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldBooleanSwitchWidget,
)

from engage.alerts.models import AlertRules
from engage.tenancy.models import User


class RulesForm(forms.ModelForm[AlertRules]):
    """What is told, from how many on, and to whom."""

    told = forms.MultipleChoiceField(
        label="Who is written to", required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    class Meta:
        model = AlertRules
        fields = ("attention", "paused", "overdue", "uncertain", "held", "gave_up")
        labels = {
            "attention": "A connection needs attention",
            "paused": "A connection is paused after repeated failures",
            "overdue": "Work is overdue",
            "uncertain": "Lost answers that wait for a person, from",
            "held": "Actions on hold that wait for a person, from",
            "gave_up": "Actions that gave up within two days, from",
        }
        help_texts = {
            "overdue": "What should have begun two minutes ago has not.",
            "uncertain": "0: never.",
            "held": "Over a binding's limit for a day, or too old to be carried out unasked. 0: never.",
            "gave_up": "0: never.",
        }
        widgets = {
            **dict.fromkeys(("attention", "paused", "overdue"), UnfoldBooleanSwitchWidget),
            **dict.fromkeys(("uncertain", "held", "gave_up"), UnfoldAdminIntegerFieldWidget),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._administrators: list[User] = self.instance.administrators()
        told: Any = self.fields["told"]
        told.choices = [(str(user.pk), f"{user} ({user.email})") for user in self._administrators]
        told.initial = [str(user.pk) for user in self.instance.recipients()]

    def silent(self) -> list[User]:
        """Return the administrators who were left out."""
        return [user for user in self._administrators if str(user.pk) not in self.cleaned_data["told"]]
