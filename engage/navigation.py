"""The console's sidebar: what a person does, in the order in which they do it."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from engage.tenancy import current
from engage.tenancy.roles import Right


@dataclass(frozen=True)
class Page:
    """A page in the sidebar: what it is called, its Material symbol, its URL name and the right that it needs."""

    title: str
    icon: str
    url: str
    right: Right


GROUPS: tuple[tuple[str, tuple[Page, ...]], ...] = (
    (
        "",
        (
            Page("Dashboard", "home", "index", Right.LOOK),
            Page("Prompts", "chat_bubble", "prompts_prompt_changelist", Right.LOOK),
            Page("Test subscribers", "science", "prompts_test_subscribers", Right.TEST_PROMPTS),
            Page("Live", "monitoring", "prompts_execution_changelist", Right.LOOK),
            Page("Lookup", "person_search", "prompts_lookup", Right.LOOK),
            Page("Alerts", "notifications", "alerts_alert_changelist", Right.LOOK),
        ),
    ),
    (
        "User traits",
        (
            Page("Traits", "sell", "sync_trait_changelist", Right.LOOK),
            Page("Sources", "database", "sync_source_changelist", Right.LOOK),
            Page("Imports", "upload_file", "sync_importrun_changelist", Right.LOOK),
            Page("Webhooks", "webhook", "sync_inboundmessage_changelist", Right.LOOK),
        ),
    ),
    (
        "Settings",
        (
            Page("Actions", "extension", "connectors_connection_changelist", Right.LOOK),
            Page("App & delivery mode", "tune", "tenancy_app_changelist", Right.LOOK),
            Page("API keys", "key", "tenancy_apikey_changelist", Right.MANAGE_KEYS),
            Page("Users and roles", "group", "tenancy_membership_changelist", Right.MANAGE_USERS),
            Page("Audit log", "history", "audit_entry_changelist", Right.SEE_AUDIT),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Return unfold's navigation for this request: the pages that the person may see."""
    groups: list[dict[str, Any]] = []
    for title, pages in GROUPS:
        allowed = [page for page in pages if current.may(request, page.right)]
        items = [{"title": page.title, "icon": page.icon, "link": reverse(f"admin:{page.url}")} for page in allowed]
        groups.append({"title": title, "items": items})
    here = _here(request, [item["link"] for group in groups for item in group["items"]])
    for group in groups:
        for item in group["items"]:
            item["active"] = item["link"] == here
    return [group for group in groups if group["items"]]


def _here(request: HttpRequest, links: list[str]) -> str:
    """Return the link that the request's page belongs to: the longest one, for pages lie below others' paths."""
    home = reverse("admin:index")
    above = [link for link in links if request.path.startswith(link) and (link != home or request.path == home)]
    return max(above, key=len, default="")
