"""ActiveCampaign's actions by its sheet: what goes over the wire, and how every one of its answers is read."""

from dataclasses import replace
from typing import Any

import pytest

from connectors import runner
from connectors.base import Choice, ProbeLine
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.runner import Result
from connectors.vendors.activecampaign import NOT_ENTERED, ActiveCampaign, AddContact, AddToAutomation, AddToList
from tests.connectors.contract import ActionContract, Player, Scenario, played
from tests.connectors.fake_vendor import Call

KEY = "planted-key-0123456789abcdef"
ANN, CONTACT, LIST, AUTOMATION, FIELD = "Ann@example.com", "117", "2", "42", "6"
SETTINGS = {"account_url": "https://streamly.api-us1.com/", "api_key": KEY}
SIGNED = {"Api-Token": KEY, "Accept": "application/json"}
TRAITS = {"email_address": ANN}
ROW = {"id": CONTACT, "email": ANN.lower()}
NAMES = {"first_name": "Ann", "last_name": "Example", "phone": "7223224241"}
PROBE = (
    Call("GET", "/users/me", {"user": {"id": "1", "email": "owner@example.com"}}),
    Call("GET", "/lists", {"lists": [], "meta": {"total": "0"}}, {"limit": "1"}),
)


def found(*rows: dict[str, Any]) -> Call:
    """The look for a contact."""
    return Call("GET", "/contacts", {"scoreValues": [], "contacts": list(rows)}, {"email": ANN})


def saved(status: int = 201, **known: Any) -> Call:
    body = {"contact": {"email": ANN, **known}}
    return Call("POST", "/contact/sync", {"fieldValues": [], "contact": ROW}, body=body, status=status)


def page(path: str, name: str, rows: list[dict[str, Any]], offset: int = 0) -> Call:
    return Call("GET", path, {name: rows}, {"limit": "100", "offset": str(offset)})


def on_lists(*statuses: str, number: str = LIST) -> Call:
    rows = [{"contact": CONTACT, "list": number, "status": status} for status in statuses]
    return page(f"/contacts/{CONTACT}/contactLists", "contactLists", rows)


def in_automations(*numbers: str, status: str = "1") -> Call:
    rows = [{"contact": CONTACT, "automation": number, "seriesid": number, "status": status} for number in numbers]
    return page(f"/contacts/{CONTACT}/contactAutomations", "contactAutomations", rows)


SUBSCRIBED = Call(
    "POST",
    "/contactLists",
    {"contacts": [], "contactList": {"contact": CONTACT, "list": LIST, "status": 1, "id": "9"}},
    body={"contactList": {"list": LIST, "contact": CONTACT, "status": "1"}},
)
ENTERED = Call(
    "POST",
    "/contactAutomations",
    {"contacts": [], "contactAutomation": {"contact": CONTACT, "automation": AUTOMATION, "status": 1, "id": "3"}},
    body={"contactAutomation": {"contact": 117, "automation": 42}},
    status=201,
)


class TestAddContact(ActionContract):
    scenario = Scenario(
        ActiveCampaign,
        AddContact,
        calls=(
            saved(
                firstName="Ann",
                lastName="Example",
                phone="7223224241",
                fieldValues=[{"field": FIELD, "value": "Premium"}],
            ),
        ),
        result=Result.DONE,
        message=f"{ANN} is contact {CONTACT}",
        settings=SETTINGS,
        traits=TRAITS,
        inputs={**NAMES, "field": FIELD, "value": "Premium"},
        signed=SIGNED,
        probe=PROBE,
    )


class TestAddToList(ActionContract):
    scenario = Scenario(
        ActiveCampaign,
        AddToList,
        calls=(found(ROW), on_lists("1", number="5"), found(ROW), SUBSCRIBED),
        result=Result.DONE,
        message=f"{ANN} is on list {LIST}",
        settings=SETTINGS,
        traits=TRAITS,
        inputs={"list_id": LIST},
        looks=2,
        looks_done=(found(ROW), on_lists("1")),
        signed=SIGNED,
        probe=PROBE,
    )


class TestAddToListOfANewContact(ActionContract):
    scenario = replace(TestAddToList.scenario, calls=(found(), found(), saved(), SUBSCRIBED), looks=1)


class TestAddToAutomation(ActionContract):
    scenario = Scenario(
        ActiveCampaign,
        AddToAutomation,
        calls=(found(ROW), in_automations("7"), found(ROW), ENTERED),
        result=Result.DONE,
        message=f"{ANN} has entered automation {AUTOMATION} (entry 3)",
        settings=SETTINGS,
        traits=TRAITS,
        inputs={"automation_id": AUTOMATION},
        looks=2,
        looks_done=(found(ROW), in_automations(AUTOMATION, status="2")),
        signed=SIGNED,
        probe=PROBE,
    )


class TestAddToAutomationOfANewContact(ActionContract):
    scenario = replace(TestAddToAutomation.scenario, calls=(found(), found(), saved(), ENTERED), looks=1)


SAVE, ADD, ENTER = TestAddContact.scenario, TestAddToList.scenario, TestAddToAutomation.scenario


class TestContacts:
    def test_what_is_not_known_is_not_sent_so_nothing_is_blanked(self, player: Player) -> None:
        outcome = played(player, SAVE, saved(status=200, firstName="Ann"), inputs={"first_name": "Ann", "field": FIELD})
        assert outcome.result is Result.DONE

    def test_a_value_needs_its_field(self, player: Player) -> None:
        outcome = played(player, SAVE, inputs={"value": "Premium"})
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            "There is a value, and no custom field is chosen for it.",
        )

    def test_which_is_said_when_a_binding_is_saved(self, player: Player) -> None:
        player.point_at(ActiveCampaign, (KEY,))
        with Api(ActiveCampaign(), SETTINGS, OnlyLooks(5)) as api:
            assert AddContact().check_inputs(api, {"value": "x"}) == ["Choose the custom field that gets the value."]
            assert AddContact().check_inputs(api, {"value": "x", "field": FIELD}) == []

    def test_somebody_elses_contact_in_the_answer_is_no_success(self, player: Player) -> None:
        other = replace(saved(), answer={"contact": {"id": "8", "email": "joann@example.com"}})
        outcome = played(player, SAVE, other, inputs={})
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)

    def test_only_exactly_this_address_counts(self, player: Player) -> None:
        joann = {"id": "8", "email": "joann@example.com"}
        calls = (found(joann, ROW), on_lists("1"))
        assert played(player, ADD, *calls).message == f"{ANN} is on list {LIST}"

    def test_two_with_the_same_address_are_told_and_none_is_chosen(self, player: Player) -> None:
        outcome = played(player, ADD, found(ROW, {**ROW, "id": "118"}))
        assert outcome.result is Result.REJECTED
        assert "several contacts" in outcome.message
        assert "117, 118" in outcome.message

    def test_the_address_is_not_among_what_a_browser_may_say(self) -> None:
        typed = {action.key: action.from_browser for action in ActiveCampaign.actions if action.from_browser}
        assert typed == {"add_contact": {"first_name", "last_name", "phone", "value"}}


class TestLists:
    def test_who_has_unsubscribed_is_not_subscribed_again(self, player: Player) -> None:
        outcome = played(player, ADD, found(ROW), on_lists("2"))
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            f"{ANN} has unsubscribed from list {LIST}, and is not subscribed again without their own doing.",
        )

    @pytest.mark.parametrize("statuses", [("0",), ("3",), ("91",), ("1", "2")])
    def test_nor_is_anybody_whose_subscription_is_not_active(self, player: Player, statuses: tuple[str, ...]) -> None:
        outcome = played(player, ADD, found(ROW), on_lists(*statuses))
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)

    @pytest.mark.parametrize("shown", [{"status": "2"}, {"list": "3"}, {"contact": "8"}])
    def test_an_answer_that_shows_something_else_is_no_success(self, player: Player, shown: dict[str, str]) -> None:
        answer = {"contactList": {"contact": CONTACT, "list": LIST, "status": "1", **shown}}
        calls = (found(ROW), on_lists(), found(ROW), replace(SUBSCRIBED, answer=answer), found(ROW), on_lists())
        assert played(player, ADD, *calls).result is Result.UNCERTAIN

    @pytest.mark.parametrize("unsubscribed", [True, False])
    def test_a_contact_of_many_lists_is_looked_at_to_the_last(self, player: Player, unsubscribed: bool) -> None:
        path, name = f"/contacts/{CONTACT}/contactLists", "contactLists"
        others = [{"list": str(number), "status": "1"} for number in range(1000, 1100)]
        this = [{"list": LIST, "status": "2"}] if unsubscribed else []
        looks = (found(ROW), page(path, name, others), page(path, name, this, 100))
        outcome = played(player, ADD, *looks, *(() if unsubscribed else (found(ROW), SUBSCRIBED)))
        assert outcome.result is (Result.REJECTED if unsubscribed else Result.DONE)

    def test_a_list_that_does_not_page_was_whole(self, player: Player) -> None:
        path, name = f"/contacts/{CONTACT}/contactLists", "contactLists"
        rows = [{"list": str(number), "status": "1"} for number in range(1000, 1120)]
        calls = (found(ROW), page(path, name, rows), page(path, name, rows, 100), found(ROW), SUBSCRIBED)
        assert played(player, ADD, *calls).result is Result.DONE


class TestAutomations:
    @pytest.mark.parametrize("status", ["1", "2"])
    def test_who_is_or_was_in_it_does_not_enter_again(self, player: Player, status: str) -> None:
        outcome = played(player, ENTER, found(ROW), in_automations("7", AUTOMATION, status=status))
        assert (outcome.result, outcome.message) == (Result.DONE, f"{ANN} is, or was, in automation {AUTOMATION}")

    def test_one_that_takes_nobody_has_nothing_to_do_with_the_key(self, player: Player) -> None:
        no = replace(ENTERED, answer={"message": NOT_ENTERED}, status=403)
        outcome = played(player, ENTER, found(ROW), in_automations(), found(ROW), no)
        assert (outcome.result, outcome.may_have_acted, outcome.reason) == (Result.REJECTED, False, "vendor")
        assert outcome.message.startswith(f"ActiveCampaign says: {NOT_ENTERED}")

    @pytest.mark.parametrize("shown", [{"automation": "3"}, {"contact": "8"}, {"id": ""}])
    def test_an_answer_that_shows_something_else_is_no_success(self, player: Player, shown: dict[str, str]) -> None:
        answer = {"contactAutomation": {"contact": CONTACT, "automation": AUTOMATION, "id": "3", **shown}}
        calls = (
            found(ROW),
            in_automations(),
            found(ROW),
            replace(ENTERED, answer=answer),
            found(ROW),
            in_automations(),
        )
        assert played(player, ENTER, *calls).result is Result.UNCERTAIN


class TestRefusals:
    def test_are_in_the_vendors_words(self, player: Player) -> None:
        errors = [{"title": "Invalid", "detail": "Phone is too long.", "code": "x"}, {"title": "Duplicate"}]
        outcome = played(player, SAVE, replace(saved(), answer={"errors": errors}, status=422), inputs={})
        assert outcome.message == "ActiveCampaign refused: Phone is too long.; Duplicate"

    def test_the_limit_says_until_when(self, player: Player) -> None:
        slow = replace(saved(), answer="Too Many Requests", status=429, answer_headers={"Retry-After": "30"})
        outcome = played(player, SAVE, slow, inputs={})
        assert (outcome.result, outcome.after, outcome.may_have_acted) == (Result.WAITING, 30, False)


class TestProbe:
    def probe(self, player: Player, *calls: Call) -> runner.ProbeReport:
        player.point_at(ActiveCampaign, (KEY,))
        player.vendor.expect(*calls)
        report = runner.probe(ActiveCampaign(), SETTINGS)
        player.vendor.assert_played()
        return report

    def test_it_says_whose_key_it_is(self, player: Player) -> None:
        report = self.probe(player, *PROBE)
        assert (report.passed, report.message) == (True, "The key belongs to owner@example.com.")

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_wrong_key(self, player: Player, status: int) -> None:
        report = self.probe(player, Call("GET", "/users/me", {"message": "No"}, status=status))
        assert (report.passed, report.bad_credentials) == (False, True)

    def test_a_key_that_may_not_view_lists(self, player: Player) -> None:
        no = {"errors": [{"status": 403, "title": "Forbidden", "detail": "You do not have permission to view lists."}]}
        report = self.probe(player, PROBE[0], replace(PROBE[1], answer=no, status=403))
        assert not report.passed
        text = "owner@example.com may not view lists: change the permissions of their group."
        assert ProbeLine(False, text) in report.lines


class TestCatalogues:
    def read(self, player: Player, name: str, *calls: Call) -> list[Choice]:
        player.point_at(ActiveCampaign, (KEY,))
        player.vendor.expect(*calls)
        with Api(ActiveCampaign(), SETTINGS, OnlyLooks(5)) as api:
            rows = list(ActiveCampaign.catalogues[name].fetch(api))
        player.vendor.assert_played()
        return rows

    def test_lists_page_by_page(self, player: Player) -> None:
        rows = [{"id": str(number), "name": f"List {number}"} for number in range(101)]
        read = self.read(player, "lists", page("/lists", "lists", rows[:100]), page("/lists", "lists", rows[100:], 100))
        assert [(row.key, row.label) for row in read] == [(row["id"], row["name"]) for row in rows]

    def test_automations_that_take_people(self, player: Player) -> None:
        rows = [{"id": "1", "name": "Win back", "status": "1"}, {"id": "2", "name": "Draft", "status": "2"}]
        read = self.read(player, "automations", page("/automations", "automations", rows))
        assert [(row.key, row.label) for row in read] == [("1", "Win back")]

    def test_custom_fields(self, player: Player) -> None:
        answer = page("/fields", "fields", [{"id": FIELD, "title": "Plan", "type": "text"}])
        assert [(row.key, row.label) for row in self.read(player, "fields", answer)] == [(FIELD, "Plan")]


class TestTheAccountsHost:
    @pytest.mark.parametrize("account", ["streamly.api-us1.com", "streamly-2.activehosted.com"])
    @pytest.mark.parametrize("end", ["", "/", " \n"])
    def test_one_of_the_vendors(self, account: str, end: str) -> None:
        form = ActiveCampaign.Settings({"account_url": f"https://{account}{end}", "api_key": KEY})
        assert form.is_valid(), form.errors
        assert ActiveCampaign().base_url(form.cleaned_data) == f"https://{account}/api/3"

    @pytest.mark.parametrize(
        "url",
        [
            "streamly.api-us1.com",
            "http://streamly.api-us1.com",
            "https://api-us1.com",
            "https://streamly.api-us1.com.evil.example",
            "https://evil.example/streamly.api-us1.com",
            "https://evil.example#.api-us1.com",
            "https://user@streamly.api-us1.com",
            "https://streamly.api-us1.com:8443",
            "https://streamly.api-us1.com/other",
            "https://streamly.api-us9.com",
            "https://a.b.api-us1.com",
            "https://streamly.api-us1xcom",
        ],
    )
    def test_the_key_goes_nowhere_else(self, url: str) -> None:
        form = ActiveCampaign.Settings({"account_url": url, "api_key": KEY})
        assert list(form.errors) == ["account_url"]
        assert "It does not fit: Like https://example.api-us1.com" in str(form.errors)


def test_five_requests_in_a_second_are_all_that_an_account_has() -> None:
    assert ActiveCampaign().rate(SETTINGS).spacing == pytest.approx(0.2)
