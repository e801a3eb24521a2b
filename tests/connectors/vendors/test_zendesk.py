"""Zendesk's actions by its sheet: what goes over the wire, and how every one of its answers is read."""

from dataclasses import replace
from typing import Any

import pytest

from connectors import runner
from connectors.base import ProbeLine
from connectors.http import Api
from connectors.journal import OnlyLooks
from connectors.runner import Result
from connectors.vendors.zendesk import Zendesk
from connectors.vendors.zendesk.tickets import (
    AssignAgent,
    AssignGroup,
    CreateTicket,
    DeleteTickets,
    SetPriority,
    SetStatus,
    SpamTickets,
)
from connectors.vendors.zendesk.users import RestoreUser, SuspendUser
from tests.connectors.contract import ActionContract, Player, Scenario, followed, played
from tests.connectors.fake_vendor import Call

KEY = "planted-token-0123456789"
SETTINGS = {"domain": "streamly", "username": "ops@streamly.example", "api_key": KEY}
# ops@streamly.example/token:planted-token-0123456789
SIGNED = {"Authorization": "Basic b3BzQHN0cmVhbWx5LmV4YW1wbGUvdG9rZW46cGxhbnRlZC10b2tlbi0wMTIzNDU2Nzg5"}
ANN = "ann@example.com"
KNOWN = {"zendesk_id": "7"}
ME = {"user": {"id": 1, "email": "ops@streamly.example", "role": "admin"}}
PROBE = Call("GET", "/users/me", ME)
JOB = "8b726e606741012ffc2d782bcb7848fe"
OFTEN: dict[str, Any] = {"settings": SETTINGS, "signed": SIGNED, "probe": (PROBE,)}


def ticket(number: int, **members: Any) -> dict[str, Any]:
    usual = {"id": number, "status": "open", "priority": "normal", "assignee_id": None, "group_id": 4}
    return {**usual, **members}


def requested(*tickets: Any, more: str = "", after: str = "") -> Call:
    """The tickets of user 7, or a page of them."""
    following = f"https://evil.example/api/v2/users/7/tickets/requested?page%5Bafter%5D={more}&page%5Bsize%5D=100"
    answer = {
        "tickets": list(tickets),
        "meta": {"has_more": bool(more)},
        "links": {"next": following if more else None},
    }
    query = {"page[size]": "100", **({"page[after]": after} if after else {})}
    return Call("GET", "/users/7/tickets/requested", answer, query)


def changed(ids: str, ticket: Any, job: str = JOB) -> Call:
    answer = {"job_status": {"id": job, "status": "queued"}}
    return Call("PUT", "/tickets/update_many", answer, {"ids": ids}, body={"ticket": ticket})


def job(status: str, results: Any = None, number: str = JOB, **members: Any) -> Call:
    shown = {"id": number, "status": status, "results": results, **members}
    return Call("GET", f"/job_statuses/{number}", {"job_status": shown})


def searched(*users: Any) -> Call:
    return Call("GET", "/users/search", {"users": list(users), "next_page": None}, {"query": f'email:"{ANN}"'})


def user(**members: Any) -> Any:
    return {"user": {"id": 7, "email": ANN, "suspended": False, **members}}


def bulk(action: Any, wish: dict[str, Any], what: str, *, inputs: Any, is_now: dict[str, Any]) -> Scenario:
    """An action that changes two of the user's three tickets: one is closed."""
    here = requested(ticket(1), ticket(2, status="closed"), ticket(3))
    what = f"{what}: 2 tickets"
    return Scenario(
        Zendesk,
        action,
        calls=(here, here, changed("1,3", wish)),
        looks=1,
        looks_done=(requested(ticket(1, **is_now), ticket(2, status="closed"), ticket(3, **is_now)),),
        result=Result.PENDING,
        message=f"Zendesk has queued it ({what})",
        job={"jobs": [JOB], "requester": "7", "wish": wish, "count": 2, "last": 3, "what": what},
        traits=KNOWN,
        inputs=inputs,
        **OFTEN,
    )


class TestSetPriority(ActionContract):
    wish = {"priority": "high"}
    scenario = bulk(SetPriority, wish, "Priority high", inputs=wish, is_now=wish)


class TestSetStatus(ActionContract):
    wish = {"status": "solved"}
    scenario = bulk(SetStatus, wish, "Status solved", inputs=wish, is_now=wish)


class TestAssignAgent(ActionContract):
    wish = {"assignee_id": 12}
    scenario = bulk(AssignAgent, wish, "Assignee 12", inputs={"assignee_id": "12"}, is_now=wish)


class TestAssignGroup(ActionContract):
    wish = {"group_id": 9}
    scenario = bulk(AssignGroup, wish, "Group 9", inputs={"group_id": "9"}, is_now=wish)


def gone(action: Any, what: str, call: Call) -> Scenario:
    """An action after which the user's tickets are not there, closed ones included."""
    here = requested(ticket(1), ticket(2, status="closed"))
    what = f"{what}: 2 tickets"
    return Scenario(
        Zendesk,
        action,
        calls=(here, here, call),
        looks=1,
        looks_done=(requested(),),
        result=Result.PENDING,
        message=f"Zendesk has queued it ({what})",
        job={"jobs": [JOB], "requester": "7", "wish": {}, "count": 2, "last": 2, "what": what},
        traits=KNOWN,
        **OFTEN,
    )


QUEUED = {"job_status": {"id": JOB, "status": "queued"}}


class TestDeleteTickets(ActionContract):
    scenario = gone(DeleteTickets, "Deleted", Call("DELETE", "/tickets/destroy_many", QUEUED, {"ids": "1,2"}))


class TestSpamTickets(ActionContract):
    scenario = gone(
        SpamTickets, "Marked as spam", Call("PUT", "/tickets/mark_many_as_spam", QUEUED, {"ids": "1,2"}, body={})
    )


class TestSuspendUser(ActionContract):
    """By address: the id is searched for, and the user read."""

    scenario = Scenario(
        Zendesk,
        SuspendUser,
        calls=(
            searched({"id": 8, "email": f"joann{ANN}"}, {"id": 7, "email": ANN.title()}),
            Call("GET", "/users/7", user()),
            searched({"id": 8, "email": f"joann{ANN}"}, {"id": 7, "email": ANN.title()}),
            Call("GET", "/users/7", user()),
            Call("PUT", "/users/7", user(suspended=True), body={"user": {"suspended": True}}),
        ),
        looks=2,
        looks_done=(searched({"id": 7, "email": ANN}), Call("GET", "/users/7", user(suspended=True))),
        result=Result.DONE,
        message="User 7 is suspended",
        traits={"email_address": ANN},
        **OFTEN,
    )


class TestRestoreUser(ActionContract):
    scenario = Scenario(
        Zendesk,
        RestoreUser,
        calls=(
            Call("GET", "/users/7", user(suspended=True)),
            Call("GET", "/users/7", user(suspended=True)),
            Call("PUT", "/users/7", user(), body={"user": {"suspended": False}}),
        ),
        looks=1,
        looks_done=(Call("GET", "/users/7", user()),),
        result=Result.DONE,
        message="User 7 is not suspended",
        traits=KNOWN,
        **OFTEN,
    )


LOOK = Call("GET", "/tickets", {"tickets": []}, {"external_id": "execution-1"})
OPENED = {"id": 42, "external_id": "execution-1"}
TICKET = {
    "subject": "Offer accepted by Ann",
    "comment": {"body": "Ann stays.", "public": False},
    "requester": {"name": "Ann", "email": ANN},
    "external_id": "execution-1",
    "priority": "high",
    "group_id": 9,
    "tags": ["offer", "stays"],
}


def opened(ticket: Any) -> Call:
    return Call("POST", "/tickets", {"ticket": OPENED, "audit": {}}, body={"ticket": ticket}, status=201)


class TestCreateTicket(ActionContract):
    scenario = Scenario(
        Zendesk,
        CreateTicket,
        calls=(LOOK, opened(TICKET)),
        looks=1,
        looks_done=(replace(LOOK, answer={"tickets": [OPENED]}),),
        result=Result.DONE,
        message="Ticket 42 is open (https://streamly.zendesk.com/agent/tickets/42)",
        traits={"email_address": ANN, "first_name": "Ann"},
        inputs={
            "subject": "Offer accepted by %first_name|somebody%",
            "comment": "%first_name|Somebody% stays.",
            "priority": "high",
            "group_id": "9",
            "tags": "offer, stays",
        },
        **OFTEN,
    )


CREATE, PRIORITY, SUSPEND = TestCreateTicket.scenario, TestSetPriority.scenario, TestSuspendUser.scenario


def probed(player: Player, call: Call) -> runner.ProbeReport:
    player.point_at(Zendesk, (KEY,))
    player.vendor.expect(call)
    report = runner.probe(Zendesk(), SETTINGS)
    player.vendor.assert_played()
    return report


class TestWhoIsMeant:
    @pytest.mark.parametrize(
        ("users", "words"),
        [
            ([], "has no matching user"),
            ([{"id": 8, "email": f"joann{ANN}"}, {"id": 9, "email": None}], "has no matching user"),
            ([{"id": 7, "email": ANN}, {"id": 8, "email": ANN.upper()}], "has several users at Zendesk (7, 8)"),
        ],
    )
    def test_exactly_one_user_has_the_address(self, player: Player, users: list[Any], words: str) -> None:
        outcome = played(player, SUSPEND, searched(*users))
        assert outcome.result is Result.REJECTED
        assert words in outcome.message

    def test_the_search_is_read_to_its_end(self, player: Player) -> None:
        more = {
            "users": [{"id": 8, "email": "x@example.com"}],
            "next_page": "https://evil.example/search?page=2&query=x",
        }
        last = replace(searched({"id": 7, "email": ANN}), query={"query": f'email:"{ANN}"', "page": "2"})
        suspended = Call("GET", "/users/7", user(suspended=True))
        assert played(player, SUSPEND, replace(searched(), answer=more), last, suspended).result is Result.DONE

    def test_the_id_counts_before_the_address_and_names_somebody(self, player: Player) -> None:
        traits = {"zendesk_id": 7.0, "email_address": ANN}
        outcome = played(
            player, SUSPEND, Call("GET", "/users/7", {"error": "RecordNotFound"}, status=404), traits=traits
        )
        assert (outcome.result, outcome.message) == (Result.REJECTED, "Zendesk knows no user 7.")

    def test_an_address_cannot_end_the_words_that_are_searched_for(self, player: Player) -> None:
        outcome = played(player, SUSPEND, traits={"email_address": '"a b"@example.com'})
        assert (outcome.result, player.vendor.heard) == (Result.REJECTED, [])


class TestTickets:
    def test_a_hundred_at_a_time_over_all_pages(self, player: Player) -> None:
        pages = (requested(*map(ticket, range(1, 101)), more="abc"), requested(ticket(100), ticket(101), after="abc"))
        first, rest = ",".join(map(str, range(1, 101))), "101"
        wish = {"priority": "high"}
        outcome = played(player, PRIORITY, *pages, *pages, changed(first, wish, "j1"), changed(rest, wish, "j2"))
        assert (outcome.result, outcome.job) == (
            Result.PENDING,
            {
                **(PRIORITY.job or {}),
                "jobs": ["j1", "j2"],
                "count": 101,
                "last": 101,
                "what": "Priority high: 101 tickets",
            },
        )

    def test_a_repeat_sends_what_is_left_and_not_the_first_request_again(self, player: Player) -> None:
        three, wish = (ticket(1), ticket(2), ticket(3)), {"priority": "high"}
        player.vendor.expect(requested(*three), requested(*three), replace(changed("1,2,3", wish), status=502))
        first, journal = player.play(PRIORITY)
        assert (first.result, first.may_have_acted) == (Result.WAITING, True)
        some = (ticket(1, **wish), ticket(2, **wish), ticket(3))
        player.vendor.expect(requested(*some), requested(*some), changed("3", wish))
        again, _ = player.play(PRIORITY, journal.again(), may_have_acted=True)
        player.vendor.assert_played()
        assert again.result is Result.PENDING

    def test_closed_ones_cannot_be_changed(self, player: Player) -> None:
        outcome = played(player, PRIORITY, requested(ticket(2, status="closed")))
        assert (outcome.result, outcome.message) == (
            Result.DONE,
            "Priority high: nothing is left to do for user 7",
        )

    def test_too_many_jobs_are_waited_for(self, player: Player) -> None:
        here = requested(ticket(1))
        busy = replace(changed("1", {"priority": "high"}), answer={"error": "TooManyJobs"}, status=422)
        outcome = played(player, PRIORITY, here, here, busy)
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)


OK = [{"id": 1, "action": "update", "success": True}, {"id": 3, "action": "update", "success": True}]
FAILED = {"index": 1, "id": 3, "action": "update", "success": False, "error": "TicketInvalid", "details": "Status: no"}


class TestJobs:
    @pytest.mark.parametrize("status", ["queued", "working"])
    def test_are_followed(self, player: Player, status: str) -> None:
        assert followed(player, PRIORITY, job(status)).result is Result.PENDING

    def test_done_when_every_ticket_says_so(self, player: Player) -> None:
        outcome = followed(player, PRIORITY, job("completed", OK))
        assert (outcome.result, outcome.message) == (Result.DONE, f"Priority high: 2 tickets (job {JOB})")

    def test_several_are_done_together(self, player: Player) -> None:
        jobs = {"jobs": ["j1", "j2"]}
        under_way = (job("completed", OK[:1], "j1"), job("working", None, "j2"))
        assert followed(player, PRIORITY, *under_way, **jobs).result is Result.PENDING
        ended = (job("completed", OK[:1], "j1"), job("completed", OK[1:], "j2"))
        assert followed(player, PRIORITY, *ended, **jobs).message == "Priority high: 2 tickets (job j1, j2)"

    @pytest.mark.parametrize("results", [None, {"success": True}, [OK[0], FAILED], [7]])
    def test_else_the_tickets_are_looked_at(self, player: Player, results: Any) -> None:
        high = requested(ticket(1, priority="high"), ticket(3, priority="high"), ticket(4))
        outcome = followed(player, PRIORITY, job("completed", results), high)
        assert (outcome.result, outcome.message) == (Result.DONE, f"Priority high: 2 tickets (job {JOB})")

    def test_tickets_that_failed_are_named(self, player: Player) -> None:
        left = requested(ticket(1, priority="high"), ticket(3))
        outcome = followed(player, PRIORITY, job("completed", [OK[0], FAILED]), left)
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            "Priority high: 2 tickets. Zendesk left out 1 (3): TicketInvalid; Status: no",
        )

    @pytest.mark.parametrize("status", ["failed", "killed"])
    def test_one_that_failed_whole(self, player: Player, status: str) -> None:
        outcome = followed(player, PRIORITY, job(status, message="Out of order"), requested(ticket(1), ticket(3)))
        assert (outcome.result, outcome.message) == (
            Result.REJECTED,
            "Priority high: 2 tickets. Zendesk left out 2 (1, 3): Out of order",
        )

    @pytest.mark.parametrize(
        "call", [replace(job(""), answer={"error": "RecordNotFound"}, status=404), job("unheard-of")]
    )
    def test_one_that_is_not_shown_is_asked_about_again(self, player: Player, call: Call) -> None:
        assert followed(player, PRIORITY, call).result is Result.PENDING


class TestCreate:
    def test_the_least_for_a_known_user(self, player: Player) -> None:
        least = {
            "subject": "Hello",
            "comment": {"body": "There", "public": True},
            "requester_id": 7,
            "external_id": "execution-1",
        }
        inputs = {"subject": "Hello", "comment": "There", "public": True}
        assert played(player, CREATE, LOOK, opened(least), inputs=inputs, traits=KNOWN).result is Result.DONE

    def test_without_a_name_the_address_has_one(self, player: Player) -> None:
        named = {
            **TICKET,
            "subject": "Offer accepted by somebody",
            "comment": {"body": "Somebody stays.", "public": False},
        }
        call = opened({**named, "requester": {"name": "ann", "email": ANN}})
        assert played(player, CREATE, LOOK, call, traits={"email_address": ANN}).result is Result.DONE

    def test_another_ones_ticket_is_not_ours(self, player: Player) -> None:
        other = replace(LOOK, answer={"tickets": [{"id": 41, "external_id": "execution-10"}]})
        assert played(player, CREATE, other, opened(TICKET)).message.startswith("Ticket 42")

    def test_every_try_has_the_same_key(self, player: Player) -> None:
        player.vendor.expect(LOOK, replace(opened(TICKET), status=503))
        _, journal = player.play(CREATE)
        played_again = (LOOK, opened(TICKET))
        player.vendor.expect(*played_again)
        player.play(CREATE, journal.again(), may_have_acted=True)
        player.vendor.assert_played()
        keys = [heard.header("Idempotency-Key") for heard in player.vendor.heard if heard.method == "POST"]
        assert keys == ["write-1", "write-1"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "answer", "words"),
        [
            (404, {"error": "RecordNotFound", "description": "Not found"}, "Not found"),
            (
                422,
                {
                    "error": "RecordInvalid",
                    "description": "Record validation errors",
                    "details": {
                        "group": [{"description": "Group: is invalid", "error": "InvalidValue"}],
                        "x": [1],
                        "y": 2,
                    },
                },
                "Record validation errors; Group: is invalid",
            ),
            (403, {"error": {"title": "Forbidden", "message": "You do not have access"}}, "You do not have access"),
            (400, {"errors": [{"code": "Bad", "title": "t", "detail": "Say it otherwise"}]}, "Say it otherwise"),
            (400, {"error": "IdempotentRequestError"}, "IdempotentRequestError"),
        ],
    )
    def test_are_in_zendesks_words(self, player: Player, status: int, answer: Any, words: str) -> None:
        outcome = played(player, CREATE, LOOK, replace(opened(TICKET), answer=answer, status=status))
        assert (outcome.result, outcome.message) == (Result.REJECTED, f"Zendesk refused: {words}")

    def test_a_collision_is_tried_again(self, player: Player) -> None:
        collision = replace(opened(TICKET), answer={"error": "Conflict"}, status=409)
        outcome = played(player, CREATE, LOOK, collision)
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, True)


class TestTheConnection:
    def test_says_who_we_are(self, player: Player) -> None:
        report = probed(player, PROBE)
        assert report.passed
        assert report.message == "ops@streamly.example signs in to streamly.zendesk.com (role: admin)."

    def test_an_agent_may_lack_a_permission(self, player: Player) -> None:
        agent = replace(PROBE, answer={"user": {**ME["user"], "role": "agent"}})
        assert (
            ProbeLine(None, "An agent may delete tickets only with a permission of their role.")
            in probed(player, agent).lines
        )

    def test_a_visitor_is_nobody(self, player: Player) -> None:
        visitor = replace(PROBE, answer={"user": {"id": None, "email": "invalid@example.com", "role": "end-user"}})
        report = probed(player, visitor)
        assert (report.passed, report.bad_credentials) == (False, True)

    def test_a_customer_is_no_agent(self, player: Player) -> None:
        assert not probed(player, replace(PROBE, answer={"user": {**ME["user"], "role": "end-user"}})).passed

    @pytest.mark.parametrize("domain", ["streamly", "streamly.zendesk.com"])
    def test_the_host_is_the_accounts(self, domain: str) -> None:
        form = Zendesk.Settings({**SETTINGS, "domain": domain})
        assert form.is_valid(), form.errors
        assert form.cleaned_data["domain"] == "streamly.zendesk.com"
        assert Zendesk().base_url(form.cleaned_data) == "https://streamly.zendesk.com/api/v2"

    @pytest.mark.parametrize(
        "domain", ["evil.example", "streamly.zendesk.com.evil.example", "a.b.zendesk.com", "streamly/x", "-a", "a@b"]
    )
    def test_and_no_other(self, domain: str) -> None:
        assert "domain" in Zendesk.Settings({**SETTINGS, "domain": domain}).errors

    def test_agents_are_those_who_work_there(self, player: Player) -> None:
        player.point_at(Zendesk, (KEY,))
        page = {"users": [{"id": 12, "name": "Zoe"}], "meta": {"has_more": False}, "links": {"next": None}}
        player.vendor.by_shape = lambda _: Call("GET", "/users", page)
        with Api(Zendesk(), SETTINGS, OnlyLooks(5)) as api:
            choices = [(row.key, row.label) for row in Zendesk.catalogues["agents"].fetch(api)]
        assert choices == [("12", "Zoe")]
        assert sorted(player.vendor.heard[0].query) == [("page[size]", "100"), ("role[]", "admin"), ("role[]", "agent")]

    def test_groups_are_read_to_their_end(self, player: Player) -> None:
        player.point_at(Zendesk, (KEY,))
        more = {
            "meta": {"has_more": True},
            "links": {"next": "https://evil.example/?page%5Bafter%5D=x%3D&page%5Bsize%5D=9"},
        }
        last = {"meta": {"has_more": False}, "links": {"next": None}}
        player.vendor.expect(
            Call("GET", "/groups/assignable", {"groups": [{"id": 4, "name": "A"}], **more}, {"page[size]": "100"}),
            Call(
                "GET",
                "/groups/assignable",
                {"groups": [{"id": 9, "name": "B"}], **last},
                {"page[size]": "100", "page[after]": "x="},
            ),
        )
        with Api(Zendesk(), SETTINGS, OnlyLooks(5)) as api:
            assert [row.key for row in Zendesk.catalogues["groups"].fetch(api)] == ["4", "9"]
        player.vendor.assert_played()
