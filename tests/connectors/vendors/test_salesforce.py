"""Salesforce's actions by its sheet: two clouds, what goes over the wire, and how every one of its answers is read."""

from dataclasses import replace
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from connectors import runner
from connectors.base import Choice, ProbeLine
from connectors.failures import Rejected
from connectors.forms import settings_form
from connectors.http import Api, base_url
from connectors.journal import OnlyLooks
from connectors.models import Connection
from connectors.runner import Outcome, Result
from connectors.vendors.salesforce import Salesforce
from connectors.vendors.salesforce.marketing import ListAdd, ListAddTyped, SendMail, TriggeredSend
from connectors.vendors.salesforce.service import CreateCase, PostToCases, quoted
from tests.connectors.contract import ActionContract, Player, Scenario, played
from tests.connectors.fake_vendor import Call, Form, Raw
from tests.factories import ConnectionFactory

TAG = "execution-1"
CONTACT, CASE, CASE_2 = "003xx000004TmiQAAS", "500xx000000aaaAAAQ", "500xx000000bbbBAAQ"
ANN, FRIEND = "Ann.O'Hara@example.com", "friend@example.org"
TOKEN, MC_TOKEN = "00Dxx0000001gPL!planted.token", "eyJ-planted-token-of-marketing"
TENANT = "mc563885gzs27c5t9-63k636ttgm"
SECRET, MC_SECRET = "planted-consumer-secret-0123456789", "planted-client-secret-0123456789"
SERVICE = {"my_domain": "https://example.my.salesforce.com", "client_id": "consumer-1", "client_secret": SECRET}
MARKETING = {
    "mc_auth_url": f"https://{TENANT}.auth.marketingcloudapis.com/",
    "mc_client_id": "package-1",
    "mc_client_secret": MC_SECRET,
    "mc_account_id": "7654321",
    "mc_subscriber_key": "email",
    "mc_from_email": "hello@streamly.example",
}
JSON_ONLY = {"Accept": "application/json"}
SIGNED = {**JSON_ONLY, "Authorization": f"Bearer {TOKEN}"}
MC_SIGNED = {**JSON_ONLY, "Authorization": f"Bearer {MC_TOKEN}"}
IN_THE_ENVELOPE = {"Accept": "text/xml"}

# --- Service Cloud ------------------------------------------------------------------------------------------------------

LOGIN = Call(
    "POST",
    "/login/services/oauth2/token",
    {"access_token": TOKEN, "instance_url": "https://elsewhere.example", "token_type": "Bearer", "signature": "x"},
    body=Form({"grant_type": "client_credentials", "client_id": "consumer-1", "client_secret": SECRET}),
    token=TOKEN,
    signed=JSON_ONLY,
)
EMAIL_QUOTED = "Ann.O\\'Hara@example.com"
PICKLIST = [{"value": "Web", "label": "From the web", "active": True}, {"value": "Old", "label": "x", "active": False}]
FIELDS = [
    {"name": "Origin", "picklistValues": PICKLIST, "externalId": False, "unique": False},
    {"name": "Ref__c", "picklistValues": [], "externalId": True, "unique": True},
    {"name": "Loose__c", "picklistValues": [], "externalId": True, "unique": False},
]
DESCRIBE = Call("GET", "/sobjects/Case/describe", {"createable": True, "fields": FIELDS})
SERVICE_PROBE = (LOGIN, DESCRIBE)


def asked(soql: str, *records: dict[str, Any], done: bool = True, **more: Any) -> Call:
    """A query and its rows."""
    return Call(
        "GET", "/query", {"totalSize": len(records), "done": done, "records": list(records), **more}, {"q": soql}
    )


def contact(*ids: str) -> Call:
    soql = f"SELECT Id FROM Contact WHERE Email = '{EMAIL_QUOTED}' LIMIT 2"  # noqa: S608
    return asked(soql, *({"attributes": {"type": "Contact"}, "Id": one} for one in ids))


def case_with(reference: str, *ids: str) -> Call:
    return asked(f"SELECT Id FROM Case WHERE {reference} LIMIT 2", *({"Id": one} for one in ids))  # noqa: S608


SUBJECT = f"Offer accepted [{TAG}]"
BY_SUBJECT = f"Subject = '{SUBJECT}'"
CREATED = {"id": CASE, "success": True, "errors": []}
OPENED = {
    "Subject": SUBJECT,
    "Description": "They took the offer.",
    "Origin": "Web",
    "ContactId": CONTACT,
    "SuppliedEmail": ANN,
}


def opened(answer: Any = CREATED, status: int = 201, **changes: Any) -> Call:
    body = {name: value for name, value in {**OPENED, **changes}.items() if value is not None}
    return Call("POST", "/sobjects/Case", answer, body=body, status=status)


class TestCreateCase(ActionContract):
    scenario = Scenario(
        Salesforce,
        CreateCase,
        calls=(LOGIN, case_with(BY_SUBJECT), contact(CONTACT), opened()),
        looks=2,
        looks_done=(LOGIN, case_with(BY_SUBJECT, CASE)),
        result=Result.DONE,
        message=f"Case {CASE} is open",
        settings=SERVICE,
        traits={"email_address": ANN},
        inputs={"subject": "Offer accepted", "description": "They took the offer.", "origin": "Web"},
        signed=SIGNED,
        probe=SERVICE_PROBE,
    )


class TestCreateCaseUnderAFieldOfItsOwn(ActionContract):
    scenario = Scenario(
        Salesforce,
        CreateCase,
        calls=(
            LOGIN,
            case_with(f"Ref__c = '{TAG}'"),
            Call(
                "PATCH",
                f"/sobjects/Case/Ref__c/{TAG}",
                {**CREATED, "created": True},
                body={"Subject": "Offer accepted", "ContactId": CONTACT},
                status=201,
            ),
        ),
        looks=2,
        looks_done=(LOGIN, case_with(f"Ref__c = '{TAG}'", CASE)),
        result=Result.DONE,
        message=f"Case {CASE} is open",
        settings={**SERVICE, "case_reference_field": "Ref__c"},
        traits={"salesforce_id": CONTACT},
        inputs={"subject": "Offer accepted"},
        signed=SIGNED,
        probe=SERVICE_PROBE,
    )


def cases(*ids: str, where: str = "") -> Call:
    soql = f"SELECT Id FROM Case WHERE ContactId = '{CONTACT}'{where} ORDER BY Id LIMIT 201"  # noqa: S608
    return asked(soql, *({"Id": one} for one in ids))


def feeds(*rows: dict[str, Any], of: tuple[str, ...] = (CASE, CASE_2), **more: Any) -> Call:
    parents = ", ".join(f"'{one}'" for one in of)
    soql = f"SELECT ParentId, Body FROM FeedItem WHERE ParentId IN ({parents}) AND CreatedDate = LAST_N_DAYS:30"  # noqa: S608
    return asked(soql, *rows, **more)


TEXT = f"Took the offer.\n[{TAG}]"
MADE = [{"id": "0D5xx1", "success": True, "errors": []}, {"id": "0D5xx2", "success": True, "errors": []}]


def posted(answer: Any = MADE, of: tuple[str, ...] = (CASE, CASE_2)) -> Call:
    records = [{"attributes": {"type": "FeedItem"}, "ParentId": one, "Body": TEXT, "Type": "TextPost"} for one in of]
    return Call("POST", "/composite/sobjects", answer, body={"allOrNone": True, "records": records})


ALL_POSTED = feeds({"ParentId": CASE, "Body": TEXT}, {"ParentId": CASE_2, "Body": TEXT})
NONE_POSTED = feeds({"ParentId": CASE, "Body": "Called back"}, {"ParentId": CASE_2, "Body": None})


class TestPostToCases(ActionContract):
    scenario = Scenario(
        Salesforce,
        PostToCases,
        calls=(
            LOGIN,
            contact(CONTACT),
            cases(CASE, CASE_2),
            NONE_POSTED,
            contact(CONTACT),
            cases(CASE, CASE_2),
            NONE_POSTED,
            posted(),
        ),
        looks=4,
        looks_done=(LOGIN, contact(CONTACT), cases(CASE, CASE_2), ALL_POSTED),
        result=Result.DONE,
        message="The post is on 2 cases",
        settings=SERVICE,
        traits={"email_address": ANN},
        inputs={"text": "Took the offer."},
        signed=SIGNED,
        probe=SERVICE_PROBE,
    )


# --- Marketing Cloud ----------------------------------------------------------------------------------------------------

GRANT = Call(
    "POST",
    "/auth/v2/token",
    {
        "access_token": MC_TOKEN,
        "token_type": "Bearer",
        "expires_in": 1079,
        "rest_instance_url": "https://elsewhere.example/",
        "soap_instance_url": "https://elsewhere.example/",
    },
    body=Form(
        {
            "grant_type": "client_credentials",
            "client_id": "package-1",
            "client_secret": MC_SECRET,
            "account_id": "7654321",
        }
    ),
    token=MC_TOKEN,
    signed=JSON_ONLY,
)
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
PARTNER = "http://exacttarget.com/wsdl/partnerAPI"


def enveloped(method: str, body: str) -> Raw:
    """A SOAP request as it goes over the wire."""
    text = (
        '<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'<s:Header><a:Action s:mustUnderstand="1">{method}</a:Action>'
        f'<a:To s:mustUnderstand="1">https://{TENANT}.soap.marketingcloudapis.com/Service.asmx</a:To>'
        f'<fueloauth xmlns="http://exacttarget.com">{MC_TOKEN}</fueloauth></s:Header>'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    )
    return Raw("text/xml; charset=utf-8", text)


def said(body: str) -> str:
    """A SOAP answer."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="{SOAP}"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soap:Header/>'
        f"<soap:Body>{body}</soap:Body></soap:Envelope>"
    )


def soap(method: str, body: str, answer: str, *, reads: bool = False, status: int = 200) -> Call:
    return Call(
        "POST",
        "/soap/Service.asmx",
        Raw("text/xml; charset=utf-8", said(answer)),
        body=enveloped(method, body),
        reads=reads,
        status=status,
        signed=IN_THE_ENVELOPE,
    )


def person(email: str = ANN, key: str = ANN, status: str = "") -> str:
    told = f"<EmailAddress>{email}</EmailAddress><SubscriberKey>{key}</SubscriberKey>{status}"
    return f'<Objects xsi:type="Subscriber">{told}<Lists><ID>123</ID>{status}</Lists></Objects>'


def saved(method: str, code: str = "OK", error: str = "", words: str = "done", overall: str = "") -> str:
    number = f"<ErrorCode>{error}</ErrorCode>" if error else ""
    result = f"<Results><StatusCode>{code}</StatusCode><StatusMessage>{words}</StatusMessage>{number}</Results>"
    status = f"<RequestID>1</RequestID><OverallStatus>{overall or code}</OverallStatus>"
    return f'<{method}Response xmlns="{PARTNER}">{result}{status}</{method}Response>'


def update(answer: str | None = None, subscriber: str = "") -> Call:
    body = f'<UpdateRequest xmlns="{PARTNER}"><Options/>{subscriber or person()}</UpdateRequest>'
    return soap("Update", body, answer or saved("Update"))


def create(answer: str | None = None) -> Call:
    save = "<SaveOption><PropertyName>*</PropertyName><SaveAction>UpdateAdd</SaveAction></SaveOption>"
    options = f"<Options><SaveOptions>{save}</SaveOptions></Options>"
    body = f'<CreateRequest xmlns="{PARTNER}">{options}{person(FRIEND, FRIEND)}</CreateRequest>'
    return soap("Create", body, answer or saved("Create"))


def retrieved(request: str, rows: str, overall: str = "OK") -> Call:
    message = f'<RetrieveRequestMsg xmlns="{PARTNER}"><RetrieveRequest>{request}</RetrieveRequest></RetrieveRequestMsg>'
    status = f"<OverallStatus>{overall}</OverallStatus><RequestID>r-1</RequestID>"
    answer = f'<RetrieveResponseMsg xmlns="{PARTNER}">{status}{rows}</RetrieveResponseMsg>'
    return soap("Retrieve", message, answer, reads=True)


LIST = "<ObjectType>List</ObjectType><Properties>ID</Properties><Properties>ListName</Properties>"
ROWS = (
    '<Results xsi:type="List"><ID>122</ID><ListName>All Subscribers</ListName></Results>'
    '<Results xsi:type="List"><ID>123</ID><ListName>News &amp; more</ListName></Results>'
)
LISTS = retrieved(LIST, ROWS)
FIRST_DEFINITION = Call(
    "GET",
    "/rest/messaging/v1/email/definitions/",
    {"definitions": [], "count": 0, "page": 1, "pageSize": 1},
    {"$page": "1", "$pageSize": "1"},
)
MC_PROBE = (GRANT, FIRST_DEFINITION, LISTS)


def status_of(answer: Any, status: int = 200) -> Call:
    return Call("GET", f"/rest/messaging/v1/email/messages/{TAG}", answer, status=status)


UNKNOWN = status_of({"message": "no such message", "errorcode": 30003}, 404)
SENT = status_of(
    {"requestId": "r", "eventCategoryType": "TransactionalSendEvents.EmailSent", "info": {"messageKey": TAG}}
)


def mailed(answer: Any = None, status: int = 202, **recipient: Any) -> Call:
    body = {"definitionKey": "welcome", "recipient": {"contactKey": ANN, "to": ANN, **recipient}}
    told = {"requestId": "r", "errorcode": 0, "responses": [{"messageKey": TAG}]} if answer is None else answer
    return Call("POST", f"/rest/messaging/v1/email/messages/{TAG}", told, body=body, status=status)


class TestSendMail(ActionContract):
    scenario = Scenario(
        Salesforce,
        SendMail,
        calls=(GRANT, UNKNOWN, mailed()),
        looks=2,
        looks_done=(GRANT, SENT),
        result=Result.DONE,
        message=f"Marketing Cloud accepted the mail to {ANN} as {TAG}",
        settings=MARKETING,
        traits={"email_address": ANN},
        inputs={"definition": "welcome"},
        signed=MC_SIGNED,
        probe=MC_PROBE,
    )


def triggered(answer: Any, to: str = FRIEND) -> Call:
    body = {
        "From": {"Address": "hello@streamly.example"},
        "To": {"Address": to, "SubscriberKey": to},
        "Options": {"RequestType": "ASYNC"},
    }
    path = "/rest/messaging/v1/messageDefinitionSends/key%3Aoffer/send"
    return Call("POST", path, answer, body=body, status=202)


ACCEPTED = {"requestId": "r", "responses": [{"recipientSendId": "s-1", "hasErrors": False, "messages": ["Queued"]}]}


class TestTriggeredSend(ActionContract):
    scenario = Scenario(
        Salesforce,
        TriggeredSend,
        calls=(GRANT, triggered(ACCEPTED)),
        result=Result.DONE,
        message=f"Marketing Cloud accepted the mail to {FRIEND} as s-1",
        settings=MARKETING,
        traits={},
        inputs={"send": "offer", "email": FRIEND},
        signed=MC_SIGNED,
        probe=MC_PROBE,
    )


class TestListAdd(ActionContract):
    scenario = Scenario(
        Salesforce,
        ListAdd,
        calls=(GRANT, update()),
        result=Result.DONE,
        message=f"{ANN} is on the list 123",
        settings=MARKETING,
        traits={"email_address": ANN},
        inputs={"list_id": "123"},
        signed=MC_SIGNED,
        probe=MC_PROBE,
    )


class TestListAddTyped(ActionContract):
    scenario = Scenario(
        Salesforce,
        ListAddTyped,
        calls=(GRANT, create()),
        result=Result.DONE,
        message=f"{FRIEND} is on the list 123",
        settings=MARKETING,
        traits={},
        inputs={"list_id": "123", "email": FRIEND},
        signed=MC_SIGNED,
        probe=MC_PROBE,
    )


# --- what the suite does not cover --------------------------------------------------------------------------------------

CREATE, POST, SEND = TestCreateCase.scenario, TestPostToCases.scenario, TestSendMail.scenario
FIRE, ADD, TYPED = TestTriggeredSend.scenario, TestListAdd.scenario, TestListAddTyped.scenario
BOTH = {**SERVICE, **MARKETING}


def door(settings: Settings, player: Player, values: dict[str, Any]) -> Api:
    settings.ENGAGE_VENDOR_URLS = {"salesforce": player.vendor.url}
    return Api(Salesforce(), values, OnlyLooks(5))


class TestHosts:
    def test_are_made_from_settings_alone(self, settings: Settings) -> None:
        settings.ENGAGE_VENDOR_URLS = {}
        found = {host: base_url(Salesforce(), BOTH, host) for host in ("", "login", "auth", "rest", "soap")}
        assert found == {
            "": "https://example.my.salesforce.com/services/data/v60.0",
            "login": "https://example.my.salesforce.com",
            "auth": f"https://{TENANT}.auth.marketingcloudapis.com",
            "rest": f"https://{TENANT}.rest.marketingcloudapis.com",
            "soap": f"https://{TENANT}.soap.marketingcloudapis.com",
        }

    @pytest.mark.parametrize(
        ("values", "environment", "is_sandbox"),
        [
            (SERVICE, "Production", False),
            ({**SERVICE, "my_domain": "https://example--dev.sandbox.my.salesforce.com"}, "Sandbox", True),
            ({**BOTH, "my_domain": "https://example--dev.sandbox.my.salesforce.com"}, "Sandbox", False),
            (MARKETING, "Production", False),
        ],
    )
    def test_say_in_which_environment(self, values: dict[str, Any], environment: str, is_sandbox: bool) -> None:
        declared = Salesforce()
        assert (declared.environment(values), declared.is_sandbox(values)) == (environment, is_sandbox)


class TestSettings:
    def errors(self, typed: dict[str, Any], connection: Connection | None = None) -> dict[str, list[str]]:
        form = settings_form(connection, Salesforce(), {"mc_subscriber_key": "email", **typed})
        return {} if form.is_valid() else {name: [str(text) for text in texts] for name, texts in form.errors.items()}

    @pytest.mark.parametrize("typed", [SERVICE, MARKETING, BOTH], ids=["service", "marketing", "both"])
    def test_either_cloud_or_both(self, typed: dict[str, Any]) -> None:
        assert self.errors(typed) == {}

    def test_not_none(self) -> None:
        assert self.errors({}) == {"__all__": ["Set up Service Cloud, Marketing Cloud, or both."]}

    @pytest.mark.parametrize("missing", ["my_domain", "client_id", "client_secret", "mc_auth_url", "mc_client_id"])
    def test_none_by_half(self, missing: str) -> None:
        assert missing in self.errors({name: value for name, value in BOTH.items() if name != missing})

    @pytest.mark.parametrize(
        "url",
        [
            "https://login.salesforce.com",
            "http://example.my.salesforce.com",
            "https://example.my.salesforce.com.evil.example",
            "https://example.my.salesforce.com\n.evil.example",
            "https://evil.example/.my.salesforce.com",
            "https://evil.example#.my.salesforce.com",
            "https://user@example.my.salesforce.com",
        ],
    )
    def test_no_other_host_than_salesforces(self, url: str) -> None:
        assert list(self.errors({**SERVICE, "my_domain": url})) == ["my_domain"]

    @pytest.mark.parametrize(
        "url",
        [
            "https://short.auth.marketingcloudapis.com",
            f"https://{TENANT}.rest.marketingcloudapis.com",
            f"https://{TENANT}.auth.marketingcloudapis.com.evil.example",
            f"https://evil.example/{TENANT}.auth.marketingcloudapis.com",
        ],
    )
    def test_nor_than_marketing_clouds(self, url: str) -> None:
        assert list(self.errors({**MARKETING, "mc_auth_url": url})) == ["mc_auth_url"]

    @pytest.mark.django_db
    def test_another_account_asks_for_the_secrets_of_what_is_set_up(self) -> None:
        stored = ConnectionFactory(
            connector="salesforce",
            settings={**dict.fromkeys(Salesforce.Settings.base_fields, ""), **MARKETING, "mc_client_secret": ""},
            secrets={"mc_client_secret": MC_SECRET},
        )
        for name in ("client_secret", "mc_client_secret"):
            del stored.settings[name]
        kept = {**stored.settings, "mc_client_secret": ""}
        assert self.errors(kept, stored) == {}
        moved = self.errors({**kept, "mc_account_id": "9"}, stored)
        assert list(moved) == ["mc_client_secret"]
        assert "never sent to another account" in moved["mc_client_secret"][0]
        # Left out altogether, it needs none.
        assert self.errors({**SERVICE, "mc_client_secret": ""}, stored) == {}


class TestACloudThatIsNotSetUp:
    @pytest.mark.parametrize(
        ("scenario", "values", "name"),
        [(CREATE, MARKETING, "Service Cloud"), (POST, MARKETING, "Service Cloud"), (SEND, SERVICE, "Marketing Cloud")]
        + [(one, SERVICE, "Marketing Cloud") for one in (FIRE, ADD, TYPED)],
    )
    def test_its_actions_say_so_and_send_nothing(
        self, player: Player, scenario: Scenario, values: dict[str, Any], name: str
    ) -> None:
        outcome = played(player, scenario, settings=values)
        assert (outcome.result, outcome.reason) == (Result.REJECTED, "settings")
        assert outcome.message == f"{name} is not set up in this connection."
        assert runner.preview(scenario.work(settings=values)).message == outcome.message
        assert player.vendor.heard == []

    def test_what_may_have_acted_before_is_left_to_a_person(self, player: Player) -> None:
        outcome = played(player, CREATE, settings=MARKETING, may_have_acted=True)
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)

    def test_its_dropdowns_stay_empty(self, player: Player, settings: Settings) -> None:
        for name, values in (
            ("origins", MARKETING),
            *((one, SERVICE) for one in ("definitions", "triggered", "lists")),
        ):
            with door(settings, player, values) as api:
                assert list(Salesforce.catalogues[name].fetch(api)) == []
        assert player.vendor.heard == []


class TestProbe:
    REFUSED = replace(case_with(BY_SUBJECT), answer=[{"errorCode": "INVALID_SESSION_ID"}], status=401)

    def lines(self, player: Player, settings: Settings, values: dict[str, Any], *calls: Call) -> list[ProbeLine]:
        settings.ENGAGE_VENDOR_URLS = {"salesforce": player.vendor.url}
        player.vendor.expect(*calls)
        lines = runner.probe(Salesforce(), values).lines
        player.vendor.assert_played()
        return lines

    def test_both_clouds(self, player: Player, settings: Settings) -> None:
        assert self.lines(player, settings, BOTH, *SERVICE_PROBE, *MC_PROBE) == [
            ProbeLine(True, "Service Cloud: cases may be created.", "Service Cloud"),
            ProbeLine(True, "Marketing Cloud: mails can be chosen.", "Marketing Cloud"),
            ProbeLine(True, "Marketing Cloud: 2 lists can be seen.", "Marketing Cloud"),
            ProbeLine(
                None, "Whether mails may be sent and lists changed shows at the first real one.", "Marketing Cloud"
            ),
        ]

    def test_one_cloud(self, player: Player, settings: Settings) -> None:
        text = "Marketing Cloud is not set up in this connection. Its actions are not available."
        told = self.lines(player, settings, SERVICE, *SERVICE_PROBE)
        assert told[1:] == [ProbeLine(None, text, "Marketing Cloud")]

    @pytest.mark.parametrize(
        ("field", "ok", "text"),
        [
            ("Ref__c", True, "Ref__c is a unique external ID."),
            ("Loose__c", False, "Loose__c is no unique external ID of Case."),
            ("None__c", False, "None__c is no unique external ID of Case."),
        ],
    )
    def test_the_reference_field(self, player: Player, settings: Settings, field: str, text: str, *, ok: bool) -> None:
        values = {**SERVICE, "case_reference_field": field}
        lines = self.lines(player, settings, values, *SERVICE_PROBE)
        assert ProbeLine(ok, text, "Service Cloud") in lines

    def test_without_a_right_to_cases(self, player: Player, settings: Settings) -> None:
        described = replace(DESCRIBE, answer={"createable": False, "fields": []})
        assert self.lines(player, settings, SERVICE, LOGIN, described)[0].ok is False

    def test_a_refused_secret(self, player: Player, settings: Settings) -> None:
        told = {"error": "invalid_client_id", "error_description": "client identifier invalid"}
        line = self.lines(player, settings, SERVICE, replace(LOGIN, answer=told, status=400))[0]
        text = "Service Cloud: Salesforce gives out no access token: client identifier invalid"
        assert line == ProbeLine(False, text, "Service Cloud")

    def test_one_clouds_refusal_says_nothing_of_the_other(self, player: Player, settings: Settings) -> None:
        settings.ENGAGE_VENDOR_URLS = {"salesforce": player.vendor.url}
        player.vendor.expect(replace(LOGIN, answer={"error": "invalid_client"}, status=400), *MC_PROBE)
        report = runner.probe(Salesforce(), BOTH)
        player.vendor.assert_played()

        assert (report.passed, report.bad_credentials) == (False, True)
        assert report.failed_parts == {"Service Cloud"}
        assert report.passed_for("Marketing Cloud")
        assert not report.passed_for("Service Cloud")
        assert not report.passed_for("")

    def test_a_refusal_holds_an_action_where_its_own_cloud_fails_its_test(self, player: Player) -> None:
        player.vendor.expect(LOGIN, self.REFUSED, replace(LOGIN, answer={"error": "invalid_client"}, status=400))
        outcome, _ = player.play(TestCreateCase.scenario)
        player.vendor.assert_played()

        assert outcome.result == Result.HELD
        assert outcome.failed_parts == {"Service Cloud"}
        assert outcome.message.startswith("Service Cloud: ")

    def test_a_refusal_is_one_of_the_request_where_only_the_other_cloud_fails(self, player: Player) -> None:
        other = replace(MC_PROBE[0], answer={"error": "invalid_client"}, status=400)
        player.vendor.expect(LOGIN, self.REFUSED, *SERVICE_PROBE, other)
        outcome, _ = player.play(TestCreateCase.scenario, settings=BOTH)
        player.vendor.assert_played()

        assert outcome.result == Result.REJECTED


class TestSoql:
    @pytest.mark.parametrize(
        ("value", "written"),
        [
            ("Ann", "'Ann'"),
            ("O'Hara", "'O\\'Hara'"),
            ("\\", "'\\\\'"),
            ("\\' OR Name != '", "'\\\\\\' OR Name != \\''"),
            ('a"b', "'a\\\"b'"),
            ("ü%_", "'ü%_'"),
        ],
    )
    def test_a_value_stays_a_value(self, value: str, written: str) -> None:
        assert quoted(value) == written

    @pytest.mark.parametrize("value", ["a\nb", "a\x00b", "a\u2028b", "\ud800"])
    def test_what_has_no_place_in_one_is_refused(self, value: str) -> None:
        with pytest.raises(Rejected):
            quoted(value)


class TestContacts:
    def test_several_are_not_chosen_from(self, player: Player) -> None:
        outcome = played(player, CREATE, LOGIN, case_with(BY_SUBJECT), contact(CONTACT, "003xx000004TmiRAAS"))
        assert outcome.result is Result.REJECTED
        assert "none is chosen by guessing" in outcome.message

    def test_without_one_the_case_has_the_address_alone(self, player: Player) -> None:
        alone = opened(ContactId=None)
        assert played(player, CREATE, LOGIN, case_with(BY_SUBJECT), contact(), alone).result is Result.DONE

    def test_without_one_there_is_no_case_to_post_to(self, player: Player) -> None:
        outcome = played(player, POST, LOGIN, contact())
        assert (outcome.result, outcome.message) == (Result.DONE, "The contact has no case to post to")

    @pytest.mark.parametrize("trait", ["001xx000004TmiQAAS", "003", "003xx000004TmiQ' OR", ["003xx000004TmiQAAS"]])
    def test_an_id_is_a_contacts(self, player: Player, trait: Any) -> None:
        outcome = played(player, POST, traits={"salesforce_id": trait})
        assert outcome.result is Result.REJECTED
        assert player.vendor.heard == []


class TestPosts:
    def test_open_cases_only(self, player: Player) -> None:
        some = cases(CASE, where=" AND IsClosed = false")
        before = [some, feeds(of=(CASE,))]
        inputs = {**POST.inputs, "open_only": True}
        traits = {"salesforce_id": CONTACT}
        outcome = played(
            player, POST, LOGIN, *before, *before, posted(MADE[:1], of=(CASE,)), inputs=inputs, traits=traits
        )
        assert outcome.message == f"The post is on case {CASE}"

    def test_only_those_that_lack_it(self, player: Player) -> None:
        half = feeds({"ParentId": CASE[:15], "Body": TEXT})
        before = [contact(CONTACT), cases(CASE, CASE_2), half]
        outcome = played(player, POST, LOGIN, *before, *before, posted(MADE[1:], of=(CASE_2,)))
        assert outcome.result is Result.DONE

    def test_feeds_are_read_to_their_end_wherever_the_vendor_points(self, player: Player) -> None:
        first = feeds(done=False, nextRecordsUrl="https://elsewhere.example/services/data/v60.0/query/01g-2000")
        last = {"done": True, "records": [{"ParentId": one, "Body": TEXT} for one in (CASE, CASE_2)]}
        more = Call("GET", "/query/01g-2000", last)
        outcome = played(player, POST, LOGIN, contact(CONTACT), cases(CASE, CASE_2), first, more)
        assert (outcome.result, outcome.message) == (Result.DONE, "The post is on 2 cases")

    def test_more_than_one_request_may_carry(self, player: Player) -> None:
        many = cases(*(f"500xx{number:010}" for number in range(201)))
        outcome = played(player, POST, LOGIN, contact(CONTACT), many)
        assert outcome.result is Result.REJECTED
        assert "more than 200 cases" in outcome.message


ROLLED_BACK = {"success": False, "errors": [{"statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK", "message": "x"}]}


def failed(code: str, words: str) -> dict[str, Any]:
    return {"success": False, "errors": [{"statusCode": code, "message": words, "fields": []}]}


class TestRecordsThatFailInsideA200:
    def post(self, player: Player, answer: Any, *after: Call) -> Outcome:
        return played(player, POST, *POST.calls[:-1], posted(answer), *after)

    def test_one_no_is_a_no_to_all(self, player: Player) -> None:
        outcome = self.post(player, [ROLLED_BACK, failed("INSUFFICIENT_ACCESS", "no access to the case")])
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
        assert outcome.message == "Salesforce refused: no access to the case"

    def test_a_lock_is_tried_again(self, player: Player) -> None:
        outcome = self.post(player, [ROLLED_BACK, failed("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access")])
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)

    def test_a_no_without_words(self, player: Player) -> None:
        outcome = self.post(player, [{"success": False, "errors": []}, ROLLED_BACK])
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)

    @pytest.mark.parametrize("answer", [MADE[:1], [*MADE, *MADE], [MADE[0], {"id": "x"}], [MADE[0], None]])
    def test_less_than_every_record_shown_is_looked_at_again(self, player: Player, answer: Any) -> None:
        outcome = self.post(player, answer, *POST.looks_done[1:])
        assert (outcome.result, outcome.message) == (Result.DONE, "The post is on 2 cases")


class TestServiceRefusals:
    @pytest.mark.parametrize(
        ("status", "errors", "result", "message"),
        [
            (
                400,
                [{"errorCode": "REQUIRED_FIELD_MISSING", "message": "Region is missing"}],
                Result.REJECTED,
                "Salesforce refused: Region is missing",
            ),
            (
                403,
                [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}],
                Result.WAITING,
                "The organisation has used up its API requests of 24 hours.",
            ),
            (300, ["/a", "/b"], Result.REJECTED, "Salesforce refused: several cases carry this reference"),
            (404, [{"message": 7}, 3], Result.REJECTED, "Salesforce refused: status 404"),
        ],
    )
    def test_are_in_its_words(self, player: Player, status: int, errors: Any, result: Result, message: str) -> None:
        outcome = played(player, CREATE, *CREATE.calls[:-1], opened(errors, status))
        assert (outcome.result, outcome.message, outcome.may_have_acted) == (result, message, False)

    def test_the_quota_is_not_asked_again_at_once(self, player: Player) -> None:
        told = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "x"}]
        assert played(player, CREATE, *CREATE.calls[:-1], opened(told, 403)).after == 3600


class TestMails:
    def test_to_an_entered_address(self, player: Player) -> None:
        to = mailed(contactKey=FRIEND, to=FRIEND)
        inputs = {**SEND.inputs, "email": FRIEND}
        assert played(player, SEND, GRANT, UNKNOWN, to, inputs=inputs, traits={}).result is Result.DONE

    def test_under_the_accounts_own_key(self, player: Player) -> None:
        values = {**MARKETING, "mc_subscriber_key": "trait"}
        traits = {"email_address": ANN, "salesforce_subscriber_key": "u-7"}
        outcome = played(player, SEND, GRANT, UNKNOWN, mailed(contactKey="u-7"), settings=values, traits=traits)
        assert outcome.result is Result.DONE

    @pytest.mark.parametrize(
        ("values", "traits"),
        [(MARKETING, {}), ({**MARKETING, "mc_subscriber_key": "trait"}, {"email_address": ANN})],
    )
    def test_without_address_or_key_nothing_is_sent(
        self, player: Player, values: dict[str, Any], traits: dict[str, Any]
    ) -> None:
        outcome = played(player, SEND, GRANT, UNKNOWN, settings=values, traits=traits)
        assert (outcome.result, outcome.reason) == (Result.SKIPPED, "missing")

    def test_a_recipient_that_failed_inside_a_202(self, player: Player) -> None:
        told = {"requestId": "r", "responses": [{"messageKey": TAG, "errorCode": 109001, "message": "held address"}]}
        outcome = played(player, SEND, GRANT, UNKNOWN, mailed(told))
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
        assert outcome.message == "Marketing Cloud refused: held address"

    def test_a_triggered_send_that_failed_inside_a_202(self, player: Player) -> None:
        told = {"requestId": "r", "responses": [{"hasErrors": True, "messages": ["Not started", "really"]}]}
        outcome = played(player, FIRE, GRANT, triggered(told))
        assert outcome.message == "Marketing Cloud refused: Not started; really"

    def test_a_duplicate_key_after_a_lost_answer_is_looked_at(self, player: Player) -> None:
        told = {"message": "Duplicate message key", "errorcode": 10003}
        outcome = played(player, SEND, GRANT, UNKNOWN, mailed(told, 400), SENT, may_have_acted=True)
        assert (outcome.result, outcome.message) == (
            Result.DONE,
            f"Marketing Cloud has the message {TAG}: TransactionalSendEvents.EmailSent",
        )

    def test_a_block_without_a_time(self, player: Player) -> None:
        told = {"message": "blocked", "errorcode": 50200}
        outcome = played(player, SEND, GRANT, UNKNOWN, mailed(told, 429))
        assert (outcome.result, outcome.after, outcome.may_have_acted) == (Result.WAITING, 300, False)


class TestLists:
    def test_who_has_unsubscribed_stays_so_unless_it_is_wished(self, player: Player) -> None:
        active = update(subscriber=person(status="<Status>Active</Status>"))
        assert played(player, ADD, GRANT, active, inputs={"list_id": "123", "resubscribe": True}).result is Result.DONE

    def test_an_address_is_written_as_xml(self, player: Player) -> None:
        values = {**MARKETING, "mc_subscriber_key": "trait"}
        traits = {"email_address": ANN, "salesforce_subscriber_key": "<b>&</b>"}
        escaped = update(subscriber=person(key="&lt;b&gt;&amp;&lt;/b&gt;"))
        assert played(player, ADD, GRANT, escaped, settings=values, traits=traits).result is Result.DONE

    def test_a_key_cannot_take_the_tokens_place(self, player: Player) -> None:
        values = {**MARKETING, "mc_subscriber_key": "trait"}
        place = '<fueloauth xmlns="http://exacttarget.com"/>'
        traits = {"email_address": ANN, "salesforce_subscriber_key": place}
        escaped = update(subscriber=person(key=place.replace("<", "&lt;").replace(">", "&gt;")))
        assert played(player, ADD, GRANT, escaped, settings=values, traits=traits).result is Result.DONE

    def test_an_error_inside_a_200(self, player: Player) -> None:
        told = saved("Update", "Error", "13000", "The list does not exist", "Error")
        outcome = played(player, ADD, GRANT, update(told))
        assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
        assert outcome.message == "Marketing Cloud refused: The list does not exist"

    @pytest.mark.parametrize("code", ["12014", "13006"])
    def test_on_the_list_already(self, player: Player, code: str) -> None:
        outcome = played(player, ADD, GRANT, update(saved("Update", "Error", code, "on it", "Error")))
        assert (outcome.result, outcome.message) == (Result.DONE, "The subscriber is on the list already")

    def test_a_subscriber_that_there_is_already_is_updated(self, player: Player) -> None:
        exists = create(saved("Create", "Error", "12014", "The subscriber is already on the list", "Error"))
        outcome = played(player, TYPED, GRANT, exists, update(subscriber=person(FRIEND, FRIEND)))
        assert (outcome.result, outcome.message) == (Result.DONE, f"{FRIEND} is on the list 123")

    @pytest.mark.parametrize("told", [saved("Update", overall="Has Errors"), saved("Create"), "<Other/>"])
    def test_what_does_not_say_ok_is_not_known_to_be_done(self, player: Player, told: str) -> None:
        outcome = played(player, ADD, GRANT, update(told))
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)

    def test_a_fault_is_tried_again(self, player: Player) -> None:
        fault = "<soap:Fault><faultcode>soap:Server</faultcode><faultstring>Too busy</faultstring></soap:Fault>"
        outcome = played(player, ADD, GRANT, replace(update(fault), status=500))
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, True)

    @pytest.mark.django_db
    @pytest.mark.parametrize(
        "fault",
        [
            "<soap:Fault><faultcode>q:Security</faultcode><faultstring>Token Expired</faultstring></soap:Fault>",
            "<soap:Fault><Reason><Text>Token Expired</Text></Reason></soap:Fault>",
        ],
    )
    def test_a_kept_token_that_has_expired_is_replaced(self, player: Player, fault: str) -> None:
        account = ConnectionFactory(connector="salesforce")
        played(player, ADD, GRANT, update(), account=account)
        outcome = played(player, ADD, replace(update(fault), status=500), GRANT, update(), account=account)
        assert (outcome.result, outcome.may_have_acted) == (Result.DONE, False)


class TestCatalogues:
    def rows(self, player: Player, settings: Settings, name: str, *calls: Call) -> list[Choice]:
        player.vendor.expect(*calls)
        with door(settings, player, BOTH) as api:
            rows = list(Salesforce.catalogues[name].fetch(api))
        player.vendor.assert_played()
        return rows

    def test_a_picklist(self, player: Player, settings: Settings) -> None:
        assert self.rows(player, settings, "origins", LOGIN, DESCRIBE) == [Choice("Web", "From the web")]

    def test_send_definitions(self, player: Player, settings: Settings) -> None:
        def page(number: int, rows: list[dict[str, str]]) -> Call:
            params = {"$page": str(number), "$pageSize": "50"}
            return Call("GET", "/rest/messaging/v1/email/definitions/", {"definitions": rows}, params)

        full = [
            {"definitionKey": f"k{n}", "name": f"Mail {n}", "status": "Inactive" if n else "Active"} for n in range(50)
        ]
        last = [{"definitionKey": "z", "name": "Last", "status": "active"}]
        found = self.rows(player, settings, "definitions", GRANT, page(1, full), page(2, last))
        assert found == [Choice("k0", "Mail 0"), Choice("z", "Last")]

    def test_lists_without_the_one_on_which_everybody_is(self, player: Player, settings: Settings) -> None:
        assert self.rows(player, settings, "lists", GRANT, LISTS) == [Choice("123", "News & more")]

    def test_lists_of_several_pages(self, player: Player, settings: Settings) -> None:
        first = retrieved(LIST, ROWS, "MoreDataAvailable")
        row = "<Results><ID>9</ID><ListName>Late</ListName></Results>"
        second = retrieved("<ObjectType>List</ObjectType><ContinueRequest>r-1</ContinueRequest>", row)
        found = self.rows(player, settings, "lists", GRANT, first, second)
        assert found == [Choice("123", "News & more"), Choice("9", "Late")]

    def test_triggered_sends(self, player: Player, settings: Settings) -> None:
        wanted = "".join(f"<Properties>{one}</Properties>" for one in ("CustomerKey", "Name", "TriggeredSendStatus"))
        filtered = (
            '<Filter xsi:type="SimpleFilterPart"><Property>TriggeredSendStatus</Property>'
            "<SimpleOperator>equals</SimpleOperator><Value>Active</Value></Filter>"
        )
        row = "<Results><CustomerKey>offer</CustomerKey><Name>Offer</Name></Results>"
        call = retrieved(f"<ObjectType>TriggeredSendDefinition</ObjectType>{wanted}{filtered}", row)
        assert self.rows(player, settings, "triggered", GRANT, call) == [Choice("offer", "Offer")]

    def test_an_error_inside_a_200(self, player: Player, settings: Settings) -> None:
        with pytest.raises(Rejected, match="API Permission Failed"):
            self.rows(player, settings, "lists", GRANT, retrieved(LIST, "", "Error: API Permission Failed."))
