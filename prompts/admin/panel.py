"""Where the pages of a prompt's Actions panel are."""

from django.urls import URLPattern, path

from engage.tenancy.scoped import ScopedModelAdmin
from prompts import panel, trying_views


def urls(admin: ScopedModelAdmin) -> list[URLPattern]:
    """Return the panel's URLs, below the prompt's own."""
    pages: list[tuple[str, str, type[panel.PromptPage]]] = [
        ("duplicate/", "duplicate", panel.DuplicateView),
        ("actions/", "actions", panel.PanelView),
        ("actions/add/", "actions_choose", panel.ChooseView),
        ("actions/add/<slug:connector>/<slug:action>/", "actions_add", panel.AddView),
        ("actions/lane/<slug:lane>/try/", "lane_try", trying_views.TryView),
        ("actions/<int:binding_id>/edit/", "action_edit", panel.EditView),
        ("actions/<int:binding_id>/try/", "action_try", trying_views.TryView),
        ("actions/<int:binding_id>/<slug:verb>/", "action_change", panel.ChangeView),
    ]
    return [
        path(
            f"<int:prompt_id>/{route}",
            admin.admin_site.admin_view(view.as_view(model_admin=admin)),
            name=f"prompts_prompt_{name}",
        )
        for route, name, view in pages
    ]
