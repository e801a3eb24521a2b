"""Prompts: the list, the form, duplicating and archiving. The Actions panel is `prompts.panel`."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.filters import SimpleListFilter
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminExpandableTextareaWidget

from connectors.registry import connector_or_none
from engage.audit.record import differences, record, snapshot
from engage.tenancy import current
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ScopedModelAdmin
from prompts import accepts, bindings, versions
from prompts.admin import panel, test_subscribers
from prompts.forms import PromptForm
from prompts.models import TAKES_LIMIT, Binding, Execution, Interaction, Prompt, PromptStatus

STATUS_WORDS = {
    PromptStatus.DRAFT: ("edit_note", "neutral"),
    PromptStatus.LIVE: ("play_circle", "good"),
    PromptStatus.PAUSED: ("pause_circle", "warning"),
}


def badge(icon: str, text: str, tone: str) -> SafeString:
    """Return a state as icon and word."""
    return format_html(
        '<span class="eg-chip eg-chip-{}"><span class="material-symbols-outlined" aria-hidden="true">{}</span>{}</span>',
        tone,
        icon,
        text,
    )


class PromptChangeList(ChangeList):  # type: ignore[misc]
    """Adds to each prompt of the page what is counted: its problems, accepts and how many of their actions were done."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        """Find them for the rows of this page, all at once."""
        super().get_results(request)
        self.may_add = self.model_admin.has_add_permission(request)
        prompts: list[Any] = list(self.result_list)
        found = bindings.problems_by_prompt(current.current_app(request)) if prompts else {}
        counted = accepts.lately(current.current_app(request)) if prompts else {}
        for prompt in prompts:
            prompt.found_problems = found.get(prompt.pk, [])
            prompt.accepted = counted.get(prompt.pk, accepts.Accepts())
        self.result_list = prompts


class ConnectorFilter(SimpleListFilter):
    """Prompts with an action of this vendor."""

    title = "connector"
    parameter_name = "connector"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the vendors that the App's prompts use."""
        used = (
            Binding.objects.filter(prompt__app=current.current_app(request), archived_at=None)
            .values_list("connector", flat=True)
            .distinct()
        )
        return sorted(((key, getattr(connector_or_none(key), "label", key)) for key in used), key=lambda pair: pair[1])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Prompt]) -> QuerySet[Prompt]:
        """Keep the prompts with such an action."""
        if not self.value():
            return queryset
        return queryset.filter(pk__in=Binding.objects.filter(connector=self.value(), archived_at=None).values("prompt"))


class ProblemFilter(SimpleListFilter):
    """Prompts of which an action cannot be carried out as it stands."""

    title = "problem"
    parameter_name = "problem"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """With, or without."""
        return [("yes", "With a problem"), ("no", "Without")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Prompt]) -> QuerySet[Prompt]:
        """Keep one kind."""
        if self.value() not in {"yes", "no"}:
            return queryset
        found = list(bindings.problems_by_prompt(current.current_app(request)))
        return queryset.filter(pk__in=found) if self.value() == "yes" else queryset.exclude(pk__in=found)


class ArchivedFilter(SimpleListFilter):
    """Archived prompts are out of sight unless they are asked for."""

    title = "archived"
    parameter_name = "archived"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Only the archived ones."""
        return [("yes", "Archived")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Prompt]) -> QuerySet[Prompt]:
        """Keep one kind."""
        return queryset.filter(archived_at__isnull=self.value() != "yes")


@admin.register(Prompt)
class PromptAdmin(ScopedModelAdmin):
    """The prompts of the App at hand."""

    form = PromptForm
    add_right = change_right = delete_right = Right.DESIGN_PROMPTS
    list_display = ["name_and_key", "shown_status", "shown_type", "lanes", "problems", "accepts", "done", "changed"]
    list_filter = ["status", ConnectorFilter, ProblemFilter, ArchivedFilter]
    search_fields = ["name", "key", "title"]
    search_help_text = "Search name, key or title"
    ordering = ["name", "pk"]
    list_per_page = 50
    actions = ["duplicate"]
    list_after_template = "prompts/prompt/list_note.html"
    change_form_outer_before_template = "prompts/prompt/form_head.html"
    change_form_show_cancel_button = True
    fieldsets = [
        (None, {"fields": ["name", "key", "type", "status"]}),
        (
            "What it says",
            {
                "fields": ["title", "message", "accept_label", "secondary_label", "decline_label"],
                "description": "{{ trait }} is replaced by what is known of the subscriber; {{ first_name|there }} says what "
                "stands there when it is not known.",
            },
        ),
        (
            "What it asks",
            {"fields": ["inputs"], "description": "Optional fields that the person fills in before answering."},
        ),
        ("When it is shown", {"fields": ["url_pattern", "starts_at", "ends_at", "timeout_seconds"]}),
        ("How often it may be accepted", {"fields": [("limit", "limit_days")]}),
        (
            "What the person reads afterwards",
            {"fields": ["text_done", "text_follows", "text_not_possible"]},
        ),
    ]

    class Media:
        js = ["prompts/panel.js"]

    # --- the list -----------------------------------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> QuerySet[Prompt]:
        """Return the App's prompts with their actions at hand."""
        active = Binding.objects.filter(archived_at=None)
        return (
            super()
            .get_queryset(request)
            .select_related("updated_by", "app")
            .prefetch_related(Prefetch("bindings", active))
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that counts."""
        return PromptChangeList

    @admin.display(description="Prompt", ordering="name")
    def name_and_key(self, prompt: Prompt) -> SafeString:
        """The name, and below it what the API calls it."""
        return format_html(
            '<strong class="eg-name">{}</strong><code class="eg-key-name">{}</code>', prompt.name, prompt.key
        )

    @admin.display(description="Status", ordering="status")
    def shown_status(self, prompt: Prompt) -> SafeString:
        """Icon and word."""
        if prompt.archived_at:
            return badge("archive", "Archived", "neutral")
        icon, tone = STATUS_WORDS[PromptStatus(prompt.status)]
        return badge(icon, PromptStatus(prompt.status).label, tone)

    @admin.display(description="Type", ordering="type")
    def shown_type(self, prompt: Prompt) -> str:
        """Popup, notification or banner."""
        return str(prompt.get_type_display())

    @admin.display(description="Actions")
    def lanes(self, prompt: Prompt) -> SafeString:
        """E.g. "accept 2, secondary 1", as a link to the panel."""
        there = [binding.interaction for binding in prompt.bindings.all()]
        counts = [
            f"{Interaction(lane).label.split()[0].lower()} {there.count(lane)}" for lane in Interaction if lane in there
        ]
        url = reverse("admin:prompts_prompt_actions", args=[prompt.pk])
        return format_html('<a class="eg-link" href="{}">{}</a>', url, ", ".join(counts) or "none yet")

    @admin.display(description="Problems")
    def problems(self, prompt: Any) -> SafeString | str:
        """How many, and which on hover and for screen readers."""
        found: list[str] = prompt.found_problems
        if not found:
            return "None"
        url = reverse("admin:prompts_prompt_actions", args=[prompt.pk])
        return format_html(
            '<a class="eg-problem-link" href="{}" title="{}">'
            '<span class="material-symbols-outlined" aria-hidden="true">error</span><span>{}</span></a>',
            url,
            " ".join(found),
            "1 problem" if len(found) == 1 else f"{len(found)} problems",
        )

    @admin.display(description="Accepts, 7 days")
    def accepts(self, prompt: Any) -> str:
        """Of real subscribers."""
        return f"{prompt.accepted.count:,}"

    @admin.display(description="Done")
    def done(self, prompt: Any) -> str:
        """How many of the accepts' actions were done."""
        of = prompt.accepted
        return f"{of.done * 100 // of.actions}%" if of.actions else "None yet"

    @admin.display(description="Changed", ordering="updated_at")
    def changed(self, prompt: Prompt) -> SafeString:
        """When, and by whom."""
        by = str(prompt.updated_by) if prompt.updated_by else "the system"
        when = render_to_string("tenancy/moment.html", {"moment": prompt.updated_at})
        return format_html('<span class="eg-nowrap">{}<br>{}</span>', when, by)

    # --- the form -----------------------------------------------------------------------------------------------------

    def get_form(self, request: HttpRequest, obj: Prompt | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form for the App at hand."""
        form = super().get_form(request, obj, change=change, **kwargs)
        form.app = current.current_app(request)
        return form

    def get_prepopulated_fields(self, request: HttpRequest, obj: Prompt | None = None) -> dict[str, Any]:
        """A new prompt's key follows its name as it is typed."""
        return {} if obj else {"key": ("name",)}

    def get_fieldsets(self, request: HttpRequest, obj: Prompt | None = None) -> Any:
        """Show the form fields in words to somebody who may not change them."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        return [
            (title, {**options, "fields": ["shown_inputs" if name == "inputs" else name for name in options["fields"]]})
            for title, options in fieldsets
        ]

    @admin.display(description="Fields")
    def shown_inputs(self, prompt: Prompt) -> SafeString | str:
        """E.g. "Why do you leave? (choice, required)", each on its line."""
        rows = [
            (
                row["label"],
                row["type"],
                ", required" if row["required"] else "",
                ": " if row["choices"] else "",
                ", ".join(row["choices"]),
            )
            for row in prompt.inputs
        ]
        return format_html_join(SafeString("<br>"), "{} ({}{}){}{}", rows) or "None"

    def get_readonly_fields(self, request: HttpRequest, obj: Prompt | None = None) -> list[str]:
        """The key stays once events carry it."""
        if obj and not self.has_change_permission(request, obj):
            return ["shown_inputs"]
        return ["key"] if obj and obj.events.exists() else []

    def has_change_permission(self, request: HttpRequest, obj: Prompt | None = None) -> bool:
        """An archived prompt is only looked at."""
        return super().has_change_permission(request, obj) and (obj is None or obj.archived_at is None)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Say in which time zone the times are; the message begins small and grows."""
        if db_field.name == "message":
            kwargs["widget"] = UnfoldAdminExpandableTextareaWidget()
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name in {"starts_at", "ends_at"} and field is not None:
            starts = db_field.name == "starts_at"
            empty = "no start." if starts else "no end. What is answered within 72 hours after it still counts."
            field.help_text = f"In {current.current_app(request).zone}. Empty: {empty}"
        return field

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Read and show times in the App's zone, and have the tabs at hand."""
        with timezone.override(current.current_app(request).zone):
            extra = {"tab": "form", "show_save_and_add_another": False, "show_delete": False, **(extra_context or {})}
            response = super().changeform_view(request, object_id, form_url, extra)
            return response.render() if isinstance(response, TemplateResponse) else response

    def save_model(self, request: HttpRequest, obj: Prompt, form: Any, change: bool) -> None:
        """Store it, publish what is shown from now on, and write the history."""
        if not change:
            obj.app = current.current_app(request)
        fields = form.changed_data
        before = snapshot(Prompt.objects.get(pk=obj.pk), fields) if change else {}
        obj.updated_by = request.user  # type: ignore[assignment]  # signed in: a User
        super().save_model(request, obj, form, change)
        if change and not fields:
            return
        versions.publish(obj, request.user.get_username())
        record("changed" if change else "created", obj, differences(before, snapshot(obj, fields)), request=request)
        self._warn(request, obj, form)

    def _warn(self, request: HttpRequest, prompt: Prompt, form: Any) -> None:
        """Say what was saved and will not work as it stands."""
        unknown = form.unknown_variables()
        if unknown:
            names = ", ".join(f"{{{{ {name} }}}}" for name in unknown)
            messages.warning(
                request, f"No subscriber has {names} yet. Nothing stands there until a trait of this name comes in."
            )
        if prompt.status != PromptStatus.LIVE:
            return
        found = bindings.problems_by_prompt(prompt.app).get(prompt.pk, [])
        if found:
            messages.warning(request, "This prompt is live with problems: " + " ".join(found))
        if not prompt.bindings.filter(archived_at=None, enabled=True, interaction__in=TAKES_LIMIT).exists():
            messages.warning(
                request, "This prompt is live, and nothing happens when somebody accepts it: add an action."
            )

    def response_add(self, request: HttpRequest, obj: Prompt, post_url_continue: str | None = None) -> HttpResponse:
        """After a new prompt's texts come its actions."""
        if "_continue" in request.POST:
            stays: HttpResponse = super().response_add(request, obj, post_url_continue)
            return stays
        messages.success(request, f"“{obj}” was created. Now choose what happens when somebody answers.")
        return redirect("admin:prompts_prompt_actions", obj.pk)

    # --- duplicate, archive, remove -----------------------------------------------------------------------------------

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Prompts are archived or removed one by one, on a page that says what follows."""
        offered: dict[str, Any] = super().get_actions(request)
        offered.pop("delete_selected", None)
        return offered

    @admin.action(description="Duplicate", permissions=["add"])
    def duplicate(self, request: HttpRequest, queryset: Iterable[Prompt]) -> None:
        """Make drafts like the chosen prompts."""
        made = [bindings.duplicate(prompt, request) for prompt in queryset]
        names = ", ".join(f"“{prompt.name}”" for prompt in made)
        messages.success(request, f"Made {names} as draft{'s' if len(made) > 1 else ''}.")

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Archive a prompt that was answered, remove one that never was, bring an archived one back."""
        current.require(request, Right.DESIGN_PROMPTS)
        prompt = self.get_object(request, object_id)
        if prompt is None:
            redirected: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
            return redirected
        events = prompt.events.count()
        if request.method == "POST":
            with transaction.atomic():
                return self._archive_or_remove(request, prompt, answered=bool(events))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Remove {prompt}",
            "opts": self.opts,
            "object": prompt,
            "prompt": prompt,
            "events": events,
            "executions": Execution.objects.filter(binding__prompt=prompt).count(),
        }
        return TemplateResponse(request, "prompts/prompt/remove.html", context)

    def _archive_or_remove(self, request: HttpRequest, prompt: Prompt, *, answered: bool) -> HttpResponse:
        if prompt.archived_at is not None:
            Prompt.objects.filter(pk=prompt.pk).update(archived_at=None, status=PromptStatus.DRAFT)
            prompt.refresh_from_db()
            versions.publish(prompt, request.user.get_username())
            record("restored", prompt, request=request)
            messages.success(request, f"“{prompt}” is back, as a draft.")
            return redirect("admin:prompts_prompt_change", prompt.pk)
        if answered:
            Prompt.objects.filter(pk=prompt.pk).update(archived_at=timezone.now(), status=PromptStatus.PAUSED)
            prompt.refresh_from_db()
            versions.publish(prompt, request.user.get_username())
            record("archived", prompt, request=request)
            messages.success(request, f"“{prompt}” is archived. It is not shown any more; its history stays.")
        else:
            record("removed", prompt, request=request)
            prompt.delete()
            messages.success(request, f"“{prompt}” was removed.")
        return redirect("admin:prompts_prompt_changelist")

    def get_urls(self) -> list[URLPattern]:
        """Add the Actions panel and the test subscribers."""
        return [*test_subscribers.urls(self), *panel.urls(self), *super().get_urls()]
