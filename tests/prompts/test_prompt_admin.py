from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from engage.audit.models import Entry
from engage.tenancy.models import App
from engage.tenancy.roles import Role
from prompts.models import Interaction, LimitTaken, Prompt
from sync.models import Subscriber
from tests import factories

pytestmark = pytest.mark.django_db

Console = Callable[[Role], Client]
LIST = "/console/prompts/prompt/"


def form(**changes: Any) -> dict[str, Any]:
    """What a browser posts for a sound prompt."""
    return {
        "name": "Stay with us",
        "key": "stay",
        "type": "popup",
        "status": "draft",
        "title": "Hi {{ first_name|there }}",
        "message": "",
        "accept_label": "Yes",
        "secondary_label": "",
        "decline_label": "",
        "timeout_seconds": "",
        "url_pattern": "",
        "starts_at_0": "",
        "starts_at_1": "",
        "ends_at_0": "",
        "ends_at_1": "",
        "limit": "once",
        "limit_days": "",
        "text_done": "Done.",
        "text_follows": "Soon.",
        "text_not_possible": "Sorry.",
        **changes,
    }


def form_input(*rows: tuple[str, str, str, str, str]) -> dict[str, list[str]]:
    """Rows of name, label, type, required ("yes" or "no") and choices, as the editor posts them."""
    columns = zip(*rows, strict=True)
    return {
        f"inputs-{name}": list(values)
        for name, values in zip(["name", "label", "type", "required", "choices"], columns, strict=True)
    }


def errors(client: Client, **changes: Any) -> dict[str, list[str]]:
    """Post a prompt that is refused; return what is said at which field."""
    answer = client.post(f"{LIST}add/", form(**changes))
    assert answer.status_code == 200, "it was accepted"
    assert not Prompt.objects.filter(key="stay").exists()
    found: dict[str, list[str]] = {name: list(said) for name, said in answer.context["adminform"].form.errors.items()}
    return found


# --- the form ---------------------------------------------------------------------------------------


def test_a_prompt_is_made_published_and_in_the_history(app: App, console: Console) -> None:
    factories.TraitFactory(app=app, name="first_name")
    answer = console(Role.APP_MEMBER).post(f"{LIST}add/", form(), follow=True)
    prompt = Prompt.objects.get()
    assert prompt.app == app
    assert answer.redirect_chain[-1][0] == reverse("admin:prompts_prompt_actions", args=[prompt.pk])
    assert prompt.versions.get(superseded_at=None).content["title"] == "Hi {{ first_name|there }}"
    entry = Entry.objects.get(kind="prompt")
    assert (entry.verb, entry.app, entry.changes["name"]) == ("created", app, [None, "Stay with us"])
    assert "No subscriber has" not in answer.content.decode()


def test_saving_a_change_publishes_a_version_and_saving_nothing_does_not(app: App, console: Console) -> None:
    client = console(Role.APP_MEMBER)
    client.post(f"{LIST}add/", form())
    prompt = Prompt.objects.get()
    address = f"{LIST}{prompt.pk}/change/"
    client.post(address, form())
    assert prompt.versions.count() == 1
    client.post(address, form(title="Another"))
    assert [version.content["title"] for version in prompt.versions.order_by("number")] == [
        "Hi {{ first_name|there }}",
        "Another",
    ]
    assert Entry.objects.latest("pk").changes == {"title": ["Hi {{ first_name|there }}", "Another"]}
    prompt.refresh_from_db()
    assert (prompt.version, prompt.updated_by) == (2, Entry.objects.latest("pk").user)


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"limit": "every_days"}, "limit_days", "Say after how many days"),
        ({"limit": "every_days", "limit_days": "0"}, "limit_days", "Say after how many days"),
        ({"timeout_seconds": "1"}, "timeout_seconds", "Between 3 and 3,600 seconds"),
        ({"url_pattern": "account"}, "url_pattern", "A pattern begins with / or *"),
        ({"url_pattern": "/a?b=c"}, "url_pattern", "The path ends before"),
        ({"title": "Hi {{ first name }}"}, "title", "is not a variable"),
        ({"text_done": "{% now %}"}, "text_done", "would be shown as they stand"),
        (
            {"starts_at_0": "2026-02-02", "starts_at_1": "10:00", "ends_at_0": "2026-02-02", "ends_at_1": "10:00"},
            "ends_at",
            "The end must come after the start.",
        ),
    ],
)
def test_what_does_not_fit_is_said_at_its_field(
    app: App, console: Console, changes: dict[str, str], field: str, said: str
) -> None:
    found = errors(console(Role.APP_MEMBER), **changes)
    assert list(found) == [field]
    assert said in found[field][0]


def test_a_key_names_one_prompt_of_the_app_archived_ones_included(app: App, other_app: App, console: Console) -> None:
    factories.PromptFactory(app=other_app, key="stay")
    client = console(Role.APP_MEMBER)
    client.post(f"{LIST}add/", form())
    mine = Prompt.objects.get(app=app, key="stay")
    answer = client.post(f"{LIST}add/", form())
    assert "The prompt “Stay with us” has this key." in answer.content.decode()
    Prompt.objects.filter(pk=mine.pk).update(archived_at=timezone.now())
    assert "The archived prompt “Stay with us”" in client.post(f"{LIST}add/", form()).content.decode()


def test_the_key_stays_once_events_carry_it(app: App, console: Console) -> None:
    client = console(Role.APP_MEMBER)
    client.post(f"{LIST}add/", form())
    prompt = Prompt.objects.get()
    factories.EventFactory(prompt=prompt)
    client.post(f"{LIST}{prompt.pk}/change/", form(key="other", name="New name"))
    prompt.refresh_from_db()
    assert (prompt.key, prompt.name) == ("stay", "New name")


def test_times_are_those_of_the_apps_zone(app: App, console: Console) -> None:
    app.time_zone = "America/New_York"
    app.save()
    client = console(Role.APP_MEMBER)
    client.post(f"{LIST}add/", form(starts_at_0="2026-01-10", starts_at_1="09:00"))
    prompt = Prompt.objects.get()
    assert prompt.starts_at == datetime(2026, 1, 10, 14, 0, tzinfo=UTC)
    shown = client.get(f"{LIST}{prompt.pk}/change/").content.decode()
    assert 'value="09:00:00"' in shown
    assert "In America/New_York." in shown


def test_the_days_of_a_limit_are_forgotten_with_the_limit(app: App, console: Console) -> None:
    console(Role.APP_MEMBER).post(f"{LIST}add/", form(limit="none", limit_days="7"))
    assert Prompt.objects.get().limit_days is None


def test_unknown_variables_are_warned_about(app: App, console: Console) -> None:
    factories.TraitFactory(app=app, name="first_name")
    answer = console(Role.APP_MEMBER).post(f"{LIST}add/", form(message="{{ shoe_size }} {{ first_name }}"), follow=True)
    assert "No subscriber has {{ shoe_size }} yet." in answer.content.decode()


def test_fields_are_stored_as_rows(app: App, console: Console) -> None:
    rows = form_input(
        ("reason", "Why?", "choice", "yes", " Price, Content ,Price"),
        ("", "", "text", "no", ""),
        ("mail", "E-mail", "email", "no", ""),
    )
    client = console(Role.APP_MEMBER)
    client.post(f"{LIST}add/", form(**rows))
    prompt = Prompt.objects.get()
    assert prompt.inputs == [
        {"name": "reason", "label": "Why?", "type": "choice", "required": True, "choices": ["Price", "Content"]},
        {"name": "mail", "label": "E-mail", "type": "email", "required": False, "choices": []},
    ]
    assert 'value="Price, Content"' in client.get(f"{LIST}{prompt.pk}/change/").content.decode()
    client.post(f"{LIST}{prompt.pk}/change/", form(**rows))
    assert prompt.versions.count() == 1, "the same rows are no change"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("Reason!", "Why?", "text", "no", ""), "Row 1: a name has up to 40 lower-case letters"),
        (("reason", "", "text", "no", ""), "Row 1: say what the person is asked"),
        (("reason", "Why?", "date", "no", ""), "Row 1: choose a type."),
        (("reason", "Why?", "choice", "no", "only one"), "Row 1: a choice needs at least two choices"),
    ],
)
def test_a_row_that_cannot_be_asked_is_said(
    app: App, console: Console, row: tuple[str, str, str, str, str], said: str
) -> None:
    assert errors(console(Role.APP_MEMBER), **form_input(row))["inputs"][0].startswith(said)


def test_two_fields_of_one_name_and_too_many_fields_are_refused(app: App, console: Console) -> None:
    client = console(Role.APP_MEMBER)
    twice = form_input(("a", "A", "text", "no", ""), ("a", "B", "text", "no", ""))
    assert errors(client, **twice)["inputs"] == ["Row 2: the name “a” is used twice."]
    many = form_input(*((f"f{number}", "F", "text", "no", "") for number in range(11)))
    assert "at most 10" in errors(client, **many)["inputs"][0]


def test_going_live_says_what_will_not_work(app: App, console: Console) -> None:
    client = console(Role.APP_MEMBER)
    shown = client.post(f"{LIST}add/", form(status="live"), follow=True).content.decode()
    assert "nothing happens when somebody accepts it" in shown
    prompt = Prompt.objects.get()
    factories.BindingFactory(prompt=prompt, problem="The campaign has ended.")
    shown = client.post(f"{LIST}{prompt.pk}/change/", form(status="live", name="x"), follow=True).content.decode()
    assert "This prompt is live with problems: Cleeng: Apply coupon: The campaign has ended." in shown
    assert "nothing happens when somebody accepts it" not in shown


# --- archiving and duplicating ----------------------------------------------------------------------


def test_a_prompt_that_nobody_saw_is_removed(app: App, console: Console) -> None:
    prompt = factories.PromptFactory(app=app)
    console(Role.APP_MEMBER).post(f"{LIST}{prompt.pk}/delete/")
    assert not Prompt.objects.exists()
    assert Entry.objects.get(kind="prompt").verb == "removed"


def test_a_prompt_with_a_history_is_archived_and_comes_back_as_a_draft(app: App, console: Console) -> None:
    execution = factories.ExecutionFactory(binding__prompt__app=app)
    prompt = execution.binding.prompt
    client = console(Role.APP_MEMBER)
    assert "stays in the history" in client.get(f"{LIST}{prompt.pk}/delete/").content.decode()
    client.post(f"{LIST}{prompt.pk}/delete/")
    prompt.refresh_from_db()
    assert prompt.archived_at is not None
    assert prompt.versions.get(superseded_at=None).content["status"] == "paused"
    assert prompt.key not in client.get(LIST).content.decode()
    assert prompt.key in client.get(LIST + "?archived=yes").content.decode()
    assert client.post(f"{LIST}{prompt.pk}/change/", form()).status_code == 403

    client.post(f"{LIST}{prompt.pk}/delete/")
    prompt.refresh_from_db()
    assert (prompt.archived_at, prompt.status) == (None, "draft")
    assert [entry.verb for entry in Entry.objects.filter(kind="prompt").order_by("pk")] == ["archived", "restored"]


def test_prompts_are_duplicated_from_the_list_and_from_their_page(app: App, console: Console) -> None:
    prompt = factories.PromptFactory(app=app, key="stay", name="Stay")
    factories.BindingFactory(prompt=prompt)
    client = console(Role.APP_MEMBER)
    client.post(LIST, {"action": "duplicate", "_selected_action": [prompt.pk]})
    client.post(reverse("admin:prompts_prompt_duplicate", args=[prompt.pk]))
    assert set(Prompt.objects.values_list("key", flat=True)) == {"stay", "stay-copy", "stay-copy-2"}
    assert Prompt.objects.get(key="stay-copy").bindings.count() == 1


# --- the list ---------------------------------------------------------------------------------------


def test_the_list_says_what_a_prompt_does_and_how_it_goes(app: App, console: Console) -> None:
    prompt = factories.PromptFactory(app=app, name="Stay with us")
    connection = factories.ConnectionFactory(app=app)
    binding = factories.BindingFactory(prompt=prompt, connection=connection)
    factories.BindingFactory(
        prompt=prompt, connection=connection, interaction=Interaction.DECLINE, problem="Coupon ended."
    )
    for state, days, test in [
        ("done", 0, False),
        ("done", 1, False),
        ("rejected", 2, False),
        ("done", 8, False),
        ("done", 0, True),
    ]:
        event = factories.EventFactory(prompt=prompt, received_at=timezone.now() - timedelta(days=days), is_test=test)
        factories.ExecutionFactory(event=event, binding=binding, state=state)
    factories.EventFactory(prompt=prompt, interaction="impression")
    answer = console(Role.READ_ONLY).get(LIST)
    shown = answer.content.decode()
    assert "accept 1, decline 1" in shown
    assert ">1 problem</span>" in shown
    assert 'title="Cleeng: Apply coupon: Coupon ended."' in shown
    row = answer.context["cl"].result_list[0]
    assert (row.accepted.count, row.accepted.done, row.accepted.actions) == (3, 2, 3)
    assert "66%" in shown


def test_the_list_counts_what_ran_again_once_and_says_how_old_its_figures_may_be(
    app: App, other_app: App, console: Console
) -> None:
    failed = factories.ExecutionFactory(binding__prompt__app=app, state="gave_up")
    factories.ExecutionFactory(binding=failed.binding, event=failed.event, state="done", rerun_of=failed)
    factories.ExecutionFactory(binding__prompt__app=other_app, state="done")
    client = console(Role.READ_ONLY)

    def figures() -> tuple[int, int, int]:
        [row] = client.get(LIST).context["cl"].result_list
        return row.accepted.count, row.accepted.done, row.accepted.actions

    assert figures() == (1, 1, 1)
    factories.ExecutionFactory(binding=failed.binding, state="rejected")
    with CaptureQueriesContext(connection) as queries:
        assert figures() == (1, 1, 1)
    assert not [query["sql"] for query in queries.captured_queries if "prompts_promptevent" in query["sql"]]
    assert "counted every ten minutes" in client.get(LIST).content.decode()
    cache.clear()
    assert figures() == (2, 1, 2)


def test_the_list_is_filtered_by_status_connector_and_problem(app: App, console: Console) -> None:
    sound = factories.PromptFactory(app=app, key="sound-one", status="paused")
    broken = factories.PromptFactory(app=app, key="broken-one")
    factories.BindingFactory(prompt=sound, connector="builtin", action="redirect", connection=None)
    factories.BindingFactory(prompt=broken, problem="Coupon ended.")
    client = console(Role.APP_MEMBER)

    def listed(query: str) -> set[str]:
        return {prompt.key for prompt in client.get(LIST + query).context["cl"].result_list}

    assert listed("") == {"sound-one", "broken-one"}
    assert listed("?status__exact=paused") == {"sound-one"}
    assert listed("?connector=cleeng") == {"broken-one"}
    assert listed("?problem=yes") == {"broken-one"}
    assert listed("?problem=no") == {"sound-one"}
    assert listed("?q=sound") == {"sound-one"}


def test_the_list_costs_as_much_for_many_prompts_as_for_one(
    app: App, console: Console, django_assert_max_num_queries: Any
) -> None:
    connection = factories.ConnectionFactory(app=app)
    client = console(Role.APP_MEMBER)
    for _ in range(12):
        factories.BindingFactory(prompt__app=app, connection=connection)
    with django_assert_max_num_queries(32):
        client.get(LIST)


def test_an_empty_list_says_what_a_prompt_is_and_an_empty_search_how_to_go_on(app: App, console: Console) -> None:
    member, reader = console(Role.APP_MEMBER), console(Role.READ_ONLY)
    assert "Make the first prompt" in member.get(LIST).content.decode()
    assert "Your role only allows looking." in reader.get(LIST).content.decode()
    factories.PromptFactory(app=app)
    assert "Clear filters" in member.get(LIST + "?q=zzz").content.decode()


# --- roles and Apps ---------------------------------------------------------------------------------


def test_somebody_who_only_reads_sees_and_changes_nothing(app: App, console: Console) -> None:
    asked = {
        "name": "why",
        "label": "Why do <you> leave?",
        "type": "choice",
        "required": True,
        "choices": ["Price", "Time"],
    }
    prompt = factories.PromptFactory(app=app, name="Stay with us", inputs=[asked])
    client = console(Role.READ_ONLY)
    assert "Stay with us" in client.get(LIST).content.decode()
    shown = client.get(f"{LIST}{prompt.pk}/change/")
    assert shown.status_code == 200
    assert 'name="_save"' not in shown.content.decode()
    assert "Why do &lt;you&gt; leave? (choice, required): Price, Time" in shown.content.decode()
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}add/", form()).status_code == 403
    assert client.post(f"{LIST}{prompt.pk}/change/", form(name="x")).status_code == 403
    assert client.post(f"{LIST}{prompt.pk}/delete/").status_code == 403
    client.post(LIST, {"action": "duplicate", "_selected_action": [prompt.pk]})
    assert list(Prompt.objects.values_list("name", flat=True)) == ["Stay with us"]


def test_another_apps_prompt_is_not_there(app: App, other_app: App, console: Console) -> None:
    theirs = factories.PromptFactory(app=other_app, key="theirs-only")
    client = console(Role.COMPANY_ADMIN)
    assert "theirs-only" not in client.get(LIST).content.decode()
    for page in ("change", "delete"):
        for method in (client.get, client.post):
            answer = method(f"{LIST}{theirs.pk}/{page}/", follow=True)
            assert "theirs-only" not in answer.content.decode()
    assert Prompt.objects.filter(pk=theirs.pk, archived_at=None).exists()


# --- test subscribers -------------------------------------------------------------------------------

PEOPLE = "/console/prompts/prompt/test-subscribers/"


def test_a_test_subscriber_is_added_and_removed(app: App, console: Console) -> None:
    app.time_zone = "America/New_York"
    app.save()
    client = console(Role.APP_MEMBER)
    client.post(PEOPLE, {"user_id": " ana-1 ", "note": "Ana's phone", "until": "2030-01-31"})
    person = Subscriber.objects.get()
    assert (person.app, person.user_id, person.is_test, person.test_note) == (app, "ana-1", True, "Ana's phone")
    assert person.test_until == datetime(2030, 2, 1, 5, 0, tzinfo=UTC)
    assert "Ana&#x27;s phone" in client.get(PEOPLE).content.decode()
    client.post(f"{PEOPLE}{person.pk}/remove/")
    person.refresh_from_db()
    assert not person.is_test
    assert [entry.verb for entry in Entry.objects.filter(kind="subscriber").order_by("pk")] == [
        "added a test subscriber",
        "removed a test subscriber",
    ]


def test_known_subscribers_keep_their_traits_when_they_become_test_ones(app: App, console: Console) -> None:
    known = factories.SubscriberFactory(app=app, user_id="ana-1", traits={"plan": "gold"})
    console(Role.APP_MEMBER).post(PEOPLE, {"user_id": "ana-1"})
    known.refresh_from_db()
    assert (known.is_test, known.test_until, known.traits) == (True, None, {"plan": "gold"})


@pytest.mark.parametrize("user_id", ["", "x" * 201, "a\x07b"])
def test_an_id_that_no_app_sends_is_refused(app: App, console: Console, user_id: str) -> None:
    answer = console(Role.APP_MEMBER).post(PEOPLE, {"user_id": user_id, "note": "keep me"})
    assert answer.status_code == 422
    assert "keep me" in answer.content.decode()
    assert not Subscriber.objects.exists()


def test_resetting_limits_gives_back_only_this_persons(app: App, console: Console) -> None:
    mine, other = (factories.SubscriberFactory(app=app, is_test=True) for _ in range(2))
    prompt = factories.PromptFactory(app=app)
    for person in (mine, other):
        LimitTaken.objects.create(prompt=prompt, subscriber=person, taken_at=timezone.now())
    console(Role.APP_MEMBER).post(f"{PEOPLE}{mine.pk}/reset/")
    assert list(LimitTaken.objects.values_list("subscriber", flat=True)) == [other.pk]


def test_test_subscribers_are_for_designers_of_this_app(app: App, other_app: App, console: Console) -> None:
    reader, admin = console(Role.READ_ONLY), console(Role.APP_ADMIN)
    assert reader.get(PEOPLE).status_code == reader.post(PEOPLE, {"user_id": "x"}).status_code == 403
    theirs = factories.SubscriberFactory(app=other_app, is_test=True, user_id="theirs-only")
    assert "theirs-only" not in admin.get(PEOPLE).content.decode()
    assert admin.post(f"{PEOPLE}{theirs.pk}/remove/").status_code == 404
    real = factories.SubscriberFactory(app=app)
    assert admin.post(f"{PEOPLE}{real.pk}/reset/").status_code == 404
