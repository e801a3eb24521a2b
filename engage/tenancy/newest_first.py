"""Lists that only grow: newest first, a page at a time by the last row seen, and never counted."""

from typing import Any, ClassVar

from django.contrib.admin import ShowFacets
from django.contrib.admin.views.main import PAGE_VAR
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.views import ChangeList

from engage.tenancy.scoped import ScopedModelAdmin


class NewestFirst(ChangeList):  # type: ignore[misc]
    """A page of rows by their ids. `?p=` is the id of the last row seen: the page is of those below it.

    Each page walks the index of the ids and stops when it is full, as deep as it may be.
    """

    result_list: list[Any]

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        """Return the only order."""
        return ["-pk"]

    def get_results(self, request: HttpRequest) -> None:
        """Take one row more than the page has, to know whether there are older ones."""
        is_first = self.page_num <= 1  # what Django reads where there is none, or no number
        rows = self.queryset if is_first else self.queryset.filter(pk__lt=self.page_num)
        found = list(rows[: self.list_per_page + 1])
        self.result_list = found[: self.list_per_page]
        is_last = len(found) == len(self.result_list)
        self.older = "" if is_last else self.get_query_string({PAGE_VAR: found[-2].pk})
        self.newest = "" if is_first else self.get_query_string()
        # Django and unfold only ask whether there are more than on the page.
        self.result_count = self.full_result_count = len(found) + (not is_first)
        self.show_full_result_count, self.show_admin_actions = False, True
        self.can_show_all = self.multi_page = False
        self.paginator = Pages()


class Pages:
    """What leads to the other pages, where Django has a paginator."""

    template_name = "tenancy/pages.html"


class NewestFirstAdmin(ScopedModelAdmin):
    """A ModelAdmin of rows that only get more: in one order, and without numbers of rows, which are counted by reading them."""

    ordering: ClassVar[tuple[str, ...]] = ("-pk",)
    sortable_by = ()
    list_per_page = 50
    show_facets = ShowFacets.NEVER

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that is not counted."""
        return NewestFirst

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With words for a selection that goes beyond the page."""
        words = {"selection_note_all": "All that match are selected"}
        page: HttpResponse = super().changelist_view(request, {**words, **(extra_context or {})})
        return page
