"""Freshdesk's actions by its sheet: what goes over the wire, and how every one of its answers is read."""

from dataclasses import replace
from typing import Any

import pytest

from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.runner import Result
from connectors.vendors.freshdesk import Freshdesk
from connectors.vendors.freshdesk.contacts import RestoreContact, SoftDeleteContact
from connectors.vendors.freshdesk.tickets import (
    CreateTicket,
    DeleteAllTickets,
    SetGroup,
    SetPriority,
    SetResponder,
    SetSource,
    SetStatus,
    tag_of,
)
from tests.connectors.contract import ActionContract, MemoryJournal, Player, Scenario, followed, played
from tests.connectors.fake_vendor import NOTHING, Call

KEY = "planted-key-0123456789"
SETTINGS = {"domain": "streamly", "api_key": KEY}
SIGNED = {"Authorization": "Basic cGxhbnRlZC1rZXktMDEyMzQ1Njc4OTpY"}  # planted-key-0123456789:X
ANN = "ann+tv@example.com"
KNOWN = {"freshdesk_id": "7"}
PROBE = Call("GET", "/agents/me", {"id": 1, "contact": {"email": "ops@streamly.example", "name": "Ops"}})
JOB = "e4d18654f60b5204513155b26c6cb"
QUEUED = {"job_id": JOB, "href": f"https://streamly.freshdesk.com/api/v2/jobs/{JOB}"}
OFTEN: dict[str, Any] = {"settings": SETTINGS, "signed": SIGNED, "probe": (PROBE,)}


def ticket(number: int, **members: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "id": number,
        "status": 2,
        "priority": 1,
        "responder_id": None,
        "group_id": 4,
        "source": 1,
        "tags": [],
    }
    return {**usual, **members}


def requested(*tickets: Any, page: str = "", more: bool = False) -> Call:
    """All tickets of contact 7, or a page of them."""
    query = {"requester_id": "7", "updated_since": "2000-01-01T00:00:00Z", "per_page": "100"}
    links = {"Link": '<https://evil.example/api/v2/tickets?per_page=9&page=2>; rel="next"'} if more else {}
    return Call("GET", "/tickets", list(tickets), {**query, **({"page": page} if page else {})}, answer_headers=links)


def updated(ids: list[int], properties: Any, job: str = JOB) -> Call:
    body = {"bulk_action": {"ids": ids, "properties": properties}}
    return Call("POST", "/tickets/bulk_update", {**QUEUED, "job_id": job}, body=body, status=202)


def job(status: str, number: str = JOB) -> Call:
    return Call("GET", f"/jobs/{number}", {"id": number, "status": status, "progress": 80})


def found(*contacts: Any, **state: str) -> Call:
    return Call("GET", "/contacts", list(contacts), {"email": ANN, "per_page": "100", **state})


def contact(**members: Any) -> Call:
    return Call("GET", "/contacts/7", {"id": 7, "email": ANN, **members})


def bulk(action: Any, wish: dict[str, Any], what: str, inputs: dict[str, Any], **sent: Any) -> Scenario:
    """An action that changes two of the contact's three tickets: one is so already."""
    here = requested(ticket(1), ticket(2, **wish), ticket(3))
    what = f"{what}: 2 tickets"
    return Scenario(
        Freshdesk,
        action,
        calls=(here, here, updated([1, 3], {**wish, **sent})),
        looks=1,
        looks_done=(requested(ticket(1, **wish), ticket(2, **wish), ticket(3, **wish)),),
        result=Result.PENDING,
        message=f"Freshdesk has queued it ({what})",
        job={"jobs": [JOB], "requester": "7", "wish": wish, "count": 2, "last": 3, "what": what},
        traits=KNOWN,
        inputs=inputs,
        **OFTEN,
    )


class TestSetPriority(ActionContract):
    scenario = bulk(SetPriority, {"priority": 4}, "Priority 4", {"priority": "4"})


class TestSetStatus(ActionContract):
    inputs = {"status": "5", "quietly": True}
    scenario = bulk(SetStatus, {"status": 5}, "Status 5", inputs, skip_close_notification=True)


class TestSetResponder(ActionContract):
    scenario = bulk(SetResponder, {"responder_id": 12}, "Responder 12", {"responder_id": "12"})


class TestSetGroup(ActionContract):
    scenario = bulk(SetGroup, {"group_id": 9}, "Group 9", {"group_id": "9"})


class TestSetSource(ActionContract):
    scenario = bulk(SetSource, {"source": 10}, "Source 10", {"source": "10"})


class TestDeleteAllTickets(ActionContract):
    """By address: the contact is looked for, and has to have exactly this one."""

    here = (found({"id": 7, "email": ANN.title()}), requested(ticket(3), ticket(1)))
    scenario = Scenario(
        Freshdesk,
        DeleteAllTickets,
        calls=(
            *here,
            *here,
            Call("POST", "/tickets/bulk_delete", QUEUED, body={"bulk_action": {"ids": [1, 3]}}, status=202),
        ),
        looks=2,
        looks_done=(here[0], requested()),
        result=Result.PENDING,
        message="Freshdesk has queued it (In the trash: 2 tickets)",
        job={"jobs": [JOB], "requester": "7", "wish": {}, "count": 2, "last": 3, "what": "In the trash: 2 tickets"},
        traits={"email_address": ANN},
        **OFTEN,
    )


class TestSoftDeleteContact(ActionContract):
    scenario = Scenario(
        Freshdesk,
        SoftDeleteContact,
        calls=(contact(), contact(), Call("DELETE", "/contacts/7", NOTHING, status=204)),
        looks=1,
        looks_done=(contact(deleted=True),),
        result=Result.DONE,
        message="Contact 7 is deleted",
        traits=KNOWN,
        **OFTEN,
    )


class TestRestoreContact(ActionContract):
    """By address: deleted contacts are in no list that does not ask for them."""

    look = (found(), found({"id": 7, "email": ANN}, state="deleted"), contact(deleted=True))
    scenario = Scenario(
        Freshdesk,
        RestoreContact,
        calls=(*look, *look, Call("PUT", "/contacts/7/restore", NOTHING, status=204)),
        looks=3,
        looks_done=(found({"id": 7, "email": ANN}), contact()),
        result=Result.DONE,
        message="Contact 7 is there",
        traits={"email_address": ANN},
        **OFTEN,
    )


TAG = "engage-execution1"
RECENT = Call("GET", "/tickets", [ticket(41)], {"requester_id": "7", "per_page": "100"})
TICKET = {
    "subject": "Offer accepted by Ann <3",
    "description": "Ann &lt;3 stays.<br>Call &amp; thank.",
    "email": ANN,
    "name": "Ann <3",
    "status": 3,
    "priority": 4,
    "source": 2,
    "group_id": 9,
    "tags": ["offer", "will stay", TAG],
    "custom_fields": {"cf_order": "98765"},
}


def opened(ticket: Any) -> Call:
    return Call("POST", "/tickets", {"id": 42, "tags": [TAG]}, body=ticket, status=201)


class TestCreateTicket(ActionContract):
    scenario = Scenario(
        Freshdesk,
        CreateTicket,
        calls=(found({"id": 7, "email": ANN}), RECENT, opened(TICKET)),
        looks=2,
        looks_done=(
            found({"id": 7, "email": ANN}),
            replace(RECENT, answer=[ticket(43), ticket(42, tags=["offer", TAG])]),
        ),
        result=Result.DONE,
        message="Ticket 42 is open (https://streamly.freshdesk.com/a/tickets/42)",
        traits={"email_address": ANN, "first_name": "Ann <3"},
        inputs={
            "subject": "Offer accepted by %first_name|somebody%",
            "description": "%first_name|Somebody% stays.\nCall & thank.",
            "priority": "4",
            "status": "3",
            "group_id": "9",
            "tags": "offer, will stay",
            "custom_fields": '{"cf_order": "98765"}',
        },
        **OFTEN,
    )


CREATE, PRIORITY, TRASH = TestCreateTicket.scenario, TestSetPriority.scenario, TestDeleteAllTickets.scenario
DELETE, RESTORE = TestSoftDeleteContact.scenario, TestRestoreContact.scenario


class TestWhoIsMeant:
    @pytest.mark.parametrize("contacts", [[], [{"id": 8, "email": f"jo{ANN}"}, {"id": 9, "email": None}]])
    def test_exactly_this_address(self, player: Player, contacts: list[Any]) -> None:
        outcome = played(player, TRASH, found(*contacts))
        assert (outcome.result, "has no matching contact" in outcome.message) == (Result.REJECTED, True)

    def test_several_are_told(self, player: Player) -> None:
        outcome = played(player, TRASH, found({"id": 7, "email": ANN}, {"id": 8, "email": ANN}))
        assert (outcome.result, "(7, 8)" in outcome.message) == (Result.REJECTED, True)

    def test_a_contact_that_is_gone(self, player: Player) -> None:
        outcome = played(player, DELETE, replace(contact(), answer={}, status=404))
        assert (outcome.result, outcome.message) == (Result.REJECTED, "Freshdesk knows no contact 7.")

    def test_a_deleted_one_is_deleted_already(self, player: Player) -> None:
        deleted = found({"id": 7, "email": ANN}, state="deleted")
        outcome = played(player, DELETE, found(), deleted, contact(deleted=True), traits={"email_address": ANN})
        assert (outcome.result, outcome.message) == (Result.DONE, "Contact 7 is deleted")

    def test_a_405_says_so_too(self, player: Player) -> None:
        gone = Call("DELETE", "/contacts/7", NOTHING, status=405)
        outcome = played(player, DELETE, contact(), contact(), gone)
        assert (outcome.result, outcome.message) == (
            Result.DONE,
            "Freshdesk says that contact 7 is deleted or blocked already.",
        )


class TestTickets:
    """What all help desks share is held in Zendesk's tests."""

    def test_a_hundred_at_a_time_over_all_pages(self, player: Player) -> None:
        pages = (requested(*map(ticket, range(1, 101)), more=True), requested(ticket(100), ticket(101), page="2"))
        writes = (updated(list(range(1, 101)), {"priority": 4}, "j1"), updated([101], {"priority": 4}, "j2"))
        outcome = played(player, PRIORITY, *pages, *pages, *writes)
        assert outcome.result is Result.PENDING
        assert outcome.job is not None
        assert (outcome.job["jobs"], outcome.job["last"]) == (["j1", "j2"], 101)


class TestJobs:
    @pytest.mark.parametrize("status", ["IN PROGRESS", "IN_PROGRESS", "queued", "unheard-of"])
    def test_are_followed(self, player: Player, status: str) -> None:
        assert followed(player, PRIORITY, job(status)).result is Result.PENDING

    @pytest.mark.parametrize("status", ["COMPLETED", "FAILED"])
    def test_then_the_tickets_are_looked_at(self, player: Player, status: str) -> None:
        high = requested(ticket(1, priority=4), ticket(3, priority=4), ticket(4))
        outcome = followed(player, PRIORITY, job(status), high)
        assert (outcome.result, outcome.message) == (Result.DONE, f"Priority 4: 2 tickets (job {JOB})")

    def test_what_was_left_out_is_named(self, player: Player) -> None:
        outcome = followed(player, PRIORITY, job("COMPLETED"), requested(ticket(1, priority=4), ticket(3)))
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            "Priority 4: 2 tickets. Freshdesk left out 1 (3): it does not say why",
        )


class TestCreate:
    def test_the_least_for_a_known_contact(self, player: Player) -> None:
        least = {
            "subject": "Hello",
            "description": "There",
            "requester_id": 7,
            "status": 2,
            "priority": 1,
            "source": 2,
            "tags": [TAG],
        }
        inputs = {"subject": "Hello", "description": "There"}
        assert played(player, CREATE, RECENT, opened(least), inputs=inputs, traits=KNOWN).result is Result.DONE

    def test_for_nobody_whom_freshdesk_knows(self, player: Player) -> None:
        assert played(player, CREATE, found(), opened(TICKET)).result is Result.DONE

    def test_a_list_without_tags_is_completed(self, player: Player) -> None:
        bare = replace(RECENT, answer=[{"id": 42}])
        read = Call("GET", "/tickets/42", ticket(42, tags=[TAG]))
        outcome = played(player, CREATE, found({"id": 7, "email": "other@example.com"}), bare, read)
        assert (outcome.result, outcome.message.startswith("Ticket 42")) == (Result.DONE, True)

    def test_the_tag_is_no_longer_than_one_may_be(self) -> None:
        with Api(Freshdesk(), SETTINGS, MemoryJournal()) as api:
            api.journal.tag = "6f1c0e0a-58c2-4e0e-9e0d-6a1f3c5b7d90"
            assert tag_of(api) == "engage-a58c24e0e9e0d6a1f3c5b7d90"
            assert len(tag_of(api)) == 32


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "answer", "words"),
        [
            (
                400,
                {
                    "description": "Validation failed",
                    "errors": [{"field": "cf_plan", "message": "It should be a String", "code": "datatype_mismatch"}],
                },
                "It should be a String (cf_plan)",
            ),
            (403, {"code": "access_denied", "message": "You are not authorized"}, "You are not authorized"),
            (409, {"description": "Duplicate"}, "Duplicate"),
        ],
    )
    def test_are_in_freshdesks_words(self, player: Player, status: int, answer: Any, words: str) -> None:
        outcome = played(player, CREATE, found(), replace(opened(TICKET), answer=answer, status=status))
        assert (outcome.result, outcome.message) == (Result.REJECTED, f"Freshdesk refused: {words}")

    def test_a_suspended_account_is_no_refusal_of_a_request(self, player: Player) -> None:
        suspended: dict[str, Any] = {
            "answer": {"code": "account_suspended", "message": "Your account has been suspended."},
            "status": 403,
        }
        outcome = played(player, CREATE, replace(found(), **suspended), replace(PROBE, **suspended))
        assert (outcome.result, outcome.reason) == (Result.HELD, "credentials")


class TestTheConnection:
    @pytest.mark.parametrize("domain", ["streamly", "streamly.freshdesk.com", "https://streamly.freshdesk.com/"])
    def test_the_host_is_the_accounts(self, domain: str) -> None:
        form = Freshdesk.Settings({**SETTINGS, "domain": domain})
        assert form.is_valid(), form.errors
        assert form.cleaned_data["domain"] == "streamly.freshdesk.com"
        assert Freshdesk().base_url(form.cleaned_data) == "https://streamly.freshdesk.com/api/v2"

    @pytest.mark.parametrize("domain", ["support.streamly.example", "a.freshdesk.com.evil.example", "http://a", "a/b"])
    def test_and_no_other(self, domain: str) -> None:
        assert "domain" in Freshdesk.Settings({**SETTINGS, "domain": domain}).errors

    def test_lists_to_choose_from(self, player: Player) -> None:
        player.point_at(Freshdesk, (KEY,))
        choices = {"2": ["Open", "Being Processed"], "6": ["Waiting for Ann", "Waiting"]}
        field = {"type": "default_status", "choices": choices}
        player.vendor.expect(
            Call("GET", "/ticket_fields", [field], {"type": "default_status", "per_page": "100"}),
            Call("GET", "/agents", [{"id": 12, "contact": {"name": "Zoe"}}], {"per_page": "100"}),
        )
        with Api(Freshdesk(), SETTINGS, OnlyLooks(5)) as api:
            told = [
                [(row.key, row.label) for row in Freshdesk.catalogues[name].fetch(api)]
                for name in ("statuses", "agents")
            ]
        assert told == [[("2", "Open"), ("6", "Waiting for Ann")], [("12", "Zoe")]]
        player.vendor.assert_played()
