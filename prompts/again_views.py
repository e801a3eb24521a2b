"""The page on which many executions are run again: what would run, and the button."""

import json
from collections import Counter, defaultdict
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.generic import TemplateView

from engage.audit.record import record
from engage.tenancy import current
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin
from prompts import again, live
from prompts.models import State


class ExtrasForm(forms.Form):
    """What is left out unless it is ticked; in the URL beside Live's filters."""

    uncertain = forms.BooleanField(label="Needs checking: it may have happened", required=False)
    not_sent = forms.BooleanField(label="Not sent", required=False)
    tests = forms.BooleanField(label="Tests", required=False)

    @property
    def chosen(self) -> again.Extras:
        """What is ticked."""
        self.is_valid()
        return again.Extras(**self.cleaned_data)


class AgainPage(ConsoleViewMixin, TemplateView):
    """Preview, and run."""

    title = "Run again"
    right = Right.RUN_MANY_AGAIN
    template_name = "prompts/live/again.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What would run, in groups."""
        app, told = current.current_app(self.request), self.request.GET
        form, extras = live.FilterForm(app, told), ExtrasForm(told)
        found = again.those(app, form.chosen, extras.chosen, again.AT_ONCE + 1)
        rows = found[: again.AT_ONCE]
        seen = defaultdict(list)
        for row in rows:
            seen[row.standing].append(str(row.pk))
        filters = {name: value for name, value in told.items() if name in form.fields and value}
        return super().get_context_data(
            **kwargs,
            groups=again.preview(rows),
            count=len(rows),
            more=len(found) > len(rows),
            at_once=again.AT_ONCE,
            seen=json.dumps(seen),
            asks=any(row.state == State.UNCERTAIN for row in rows),
            extras=extras,
            filters=filters,
            told=[_in_words(form, name) for name in filters],
            back=urlencode(filters),
            query=told.urlencode(),
            zone=app.zone,
            tab="events",
        )

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Run those that were seen, and come back to what is left."""
        app, note = current.current_app(request), request.POST.get("note", "").strip()
        here = f"{reverse('admin:prompts_execution_again')}?{request.GET.urlencode()}"
        seen = _seen(request.POST.get("seen", ""))
        if any(standing.startswith(State.UNCERTAIN) for standing in seen) and not note:
            messages.error(request, "Nothing was done: what needs checking needs a note on how you know.")
            return redirect(here)
        ran = again.run(app, seen, by=request.user.get_username(), note=note)
        for execution, before in ran.executions:
            changes: dict[str, list[Any]] = {"state": [before, execution.state]}
            if note:
                changes["note"] = [None, note]
            label = f"{live.action_label(execution)} for {execution.subscriber}"
            record("ran again, with others", execution, changes, request=request, label=label)
        count = len(ran.executions)
        messages.success(request, f"{count:,} {'runs' if count == 1 else 'run'} again.")
        for reason, times in Counter(ran.left).items():
            messages.warning(request, f"{times:,} left as {'it is' if times == 1 else 'they are'}: {reason}")
        return redirect(here)


def _in_words(form: live.FilterForm, name: str) -> str:
    """Return a filter as people read it."""
    bound = form[name]
    shown = dict(getattr(bound.field, "choices", ())).get(form.data[name], form.data[name])
    return str(bound.label) if bound.widget_type == "checkbox" else f"{bound.label}: {shown}"


def _seen(text: str) -> dict[str, list[str]]:
    """Return ids by how they stood, as the preview wrote them; what is not so is nothing."""
    try:
        found = json.loads(text)
        return {str(standing): [str(forms.UUIDField().clean(pk)) for pk in ids] for standing, ids in found.items()}
    except (ValueError, AttributeError, TypeError, forms.ValidationError):
        return {}
