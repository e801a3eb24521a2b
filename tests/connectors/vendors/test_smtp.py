"""Mail over SMTP, against a real mail server that is broken at every step: what is sent, and what comes of each reply."""

import base64
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django.fixtures import Settings

from connectors import smtp
from connectors.forms import settings_form
from connectors.runner import Outcome, Result, Work, preview, probe, run
from connectors.vendors.smtp import Email, SendEmail, SendEmailTo
from tests.connectors.contract import HOSTILE, MemoryJournal
from tests.connectors.fake_mail_server import GREETING, PASSWORD, QUEUED, TAKEN, USER, Fault, MailServer, mail_server

ANN, SENDER = "ann@example.com", "offers@shop.example"
TRAITS = {"email_address": ANN, "first_name": "Ann"}
INPUTS = {"subject": "A gift for %first_name|you%", "text": "Hello %first_name|there%,\n.\n100%% of it is yours."}
QUICK = 0.5  # seconds of an attempt whose server does not answer


class Certificates:
    """A certificate for localhost, and the file of its issuer, which is itself."""

    def __init__(self, folder: Path, name: str = "localhost") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(private)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(self.file, folder / f"{name}.key")


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Certificates]:
    made = Certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    smtp.tls_context.cache_clear()
    yield made
    smtp.tls_context.cache_clear()


@pytest.fixture
def server(settings: Settings) -> Iterator[MailServer]:
    """A server that the operator has listed; it takes mail in the clear, from anybody."""
    with mail_server() as running:
        settings.ENGAGE_PRIVATE_HOSTS = [running.address]
        yield running


@pytest.fixture
def safe(settings: Settings, certificates: Certificates) -> Iterator[MailServer]:
    """A server that asks for STARTTLS and for a sign-in."""
    with mail_server(starttls=certificates.context, signing=True) as running:
        settings.ENGAGE_PRIVATE_HOSTS = [running.address]
        yield running


def plain(server: MailServer, **changes: Any) -> dict[str, Any]:
    """Settings for a server in the clear."""
    return {"host": "localhost", "port": server.port, "security": "smtp", "from_email": SENDER, **changes}


def signed(server: MailServer, **changes: Any) -> dict[str, Any]:
    """Settings for a server with STARTTLS and a sign-in."""
    return {**plain(server), "security": "smtp+starttls", "user": USER, "password": PASSWORD, **changes}


def work(settings: dict[str, Any], *, traits: Any = None, inputs: Any = None, action: Any = SendEmail) -> Work:
    return Work(Email(), action(), settings, TRAITS if traits is None else traits, {**INPUTS, **(inputs or {})})


def sent(settings: dict[str, Any], journal: MemoryJournal | None = None, **told: Any) -> Outcome:
    """Carry it out; whatever is kept of it holds no secret."""
    journal = journal or MemoryJournal()
    outcome = run(work(settings, **told), journal)
    kept = f"{outcome} {[exchange.as_json() for exchange in journal.exchanges]}"
    assert not any(secret in kept for secret in secrets_of(settings))
    return outcome


def secrets_of(settings: dict[str, Any]) -> list[str]:
    password = settings.get("password")
    if not password:
        return []
    spelled = (password, f"\0{settings['user']}\0{password}")
    return [password, *(base64.b64encode(text.encode()).decode() for text in spelled)]


# --- what is sent -----------------------------------------------------------------------------------------------------------


def test_a_mail_as_its_reader_sees_it(server: MailServer) -> None:
    journal = MemoryJournal()
    outcome = sent(plain(server, from_name="Shop, Inc. & Söhne", reply_to="help@shop.example"), journal)
    (mail,) = server.taken
    read = mail.read

    assert (outcome.result, outcome.may_have_acted) == (Result.DONE, False)
    assert outcome.message == f"localhost accepted the mail to {ANN}: {QUEUED}"
    assert (mail.sender, mail.recipients) == (SENDER, [ANN])
    assert {name: str(read[name]) for name in ("To", "Subject", "Reply-To", "Auto-Submitted", "Message-ID")} == {
        "To": ANN,
        "Subject": "A gift for Ann",
        "Reply-To": "help@shop.example",
        "Auto-Submitted": "auto-generated",
        "Message-ID": "<execution-1@shop.example>",
    }
    assert read["From"].addresses[0].display_name == "Shop, Inc. & Söhne"
    assert abs(read["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    assert read.get_content_type() == "text/plain"
    assert mail.texts == ["Hello Ann,\n.\n100% of it is yours.\n"]
    assert all(line.endswith(b"\r\n") for line in mail.raw.splitlines(keepends=True))


def test_a_mail_with_html_shows_traits_as_text(server: MailServer) -> None:
    html = "<p>Hello %first_name|there%</p>"
    sent(plain(server), traits={**TRAITS, "first_name": '<a href="x">Änn & 😀</a>'}, inputs={"html": html})
    read = server.taken[0].read
    texts = server.taken[0].texts
    assert read.get_content_type() == "multipart/alternative"
    assert 'Hello <a href="x">Änn & 😀</a>,' in texts[0]
    assert texts[1] == "<p>Hello &lt;a href=&quot;x&quot;&gt;Änn &amp; 😀&lt;/a&gt;</p>\n"
    assert str(read["Subject"]) == 'A gift for <a href="x">Änn & 😀</a>'
    assert server.taken[0].raw.isascii()


def test_every_try_of_an_execution_sends_the_same_mail(server: MailServer) -> None:
    for _ in range(2):
        sent(plain(server), inputs={"html": "<p>x</p>"})
    first, second = ([line for line in mail.raw.splitlines() if not line.startswith(b"Date:")] for mail in server.taken)
    assert first == second


def test_a_hidden_copy_is_hidden(server: MailServer) -> None:
    sent(plain(server), inputs={"copy_to": "team@shop.example"})
    (mail,) = server.taken
    assert mail.recipients == [ANN, "team@shop.example"]
    assert b"team@shop.example" not in mail.raw


def test_an_address_of_the_designers(server: MailServer) -> None:
    outcome = sent(plain(server), action=SendEmailTo, traits={}, inputs={"to": "team@shop.example"})
    assert (outcome.result, server.taken[0].recipients) == (Result.DONE, ["team@shop.example"])
    assert str(server.taken[0].read["Subject"]) == "A gift for you"


def test_with_starttls_and_a_sign_in(safe: MailServer) -> None:
    assert sent(signed(safe)).result is Result.DONE
    assert (safe.taken[0].signed_in, safe.taken[0].over_tls) == (True, True)


def test_with_tls_from_the_beginning(settings: Settings, certificates: Certificates) -> None:
    with mail_server(tls=certificates.context) as running:
        settings.ENGAGE_PRIVATE_HOSTS = [running.address]
        assert sent(plain(running, security="smtps")).result is Result.DONE
        assert running.taken[0].over_tls


def test_what_was_said_is_kept(safe: MailServer) -> None:
    journal = MemoryJournal()
    sent(signed(safe), journal)
    (exchange,) = journal.exchanges
    kept = exchange.as_json()

    assert [id(one) for one in journal.announced] == [id(exchange)]
    assert (kept["kind"], kept["method"], kept["url"]) == ("write", "SEND", f"smtp+starttls://localhost:{safe.port}")
    assert kept["headers"] == {
        "Mail-From": SENDER,
        "Rcpt-To": ANN,
        "Content-Type": "message/rfc822",
        "Authorization": "[secret]",
    }
    assert (kept["body"]["To"], kept["body"]["plain"]) == (ANN, "Hello Ann,\n.\n100% of it is yours.\n")
    assert (kept["sent"], kept["status"], kept["answer"]["said"]) == (True, 250, QUEUED)
    said = [line.partition(":")[0] for line in kept["answer"]["conversation"]]
    assert said == [
        "connecting", "EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL FROM", f"RCPT TO {ANN}", "DATA", "end of the mail",
    ]  # fmt: skip


def test_a_preview_shows_the_mail_and_asks_nobody(server: MailServer) -> None:
    shown = preview(work(plain(server)))
    assert shown.outcome == "would_write"
    assert shown.exchanges[0]["body"]["Subject"] == "A gift for Ann"
    assert (server.steps, server.taken) == ([], [])


# --- what nobody may put into a mail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["Ann\r\nBcc: all@example.com", "Ann\nX: 1", "Ann\rX: 1", "A\u2028X: 1", "A\x00", "A\x1b[2J", "\ud800", "A\x85B"],
)
def test_a_trait_begins_no_header(server: MailServer, name: str) -> None:
    outcome = sent(plain(server), traits={**TRAITS, "first_name": name}, inputs={"text": "Hello"})
    assert (outcome.result, server.steps) == (Result.REJECTED, [])
    assert outcome.message == "Filled in, the subject holds a line break or a control character."


def test_a_line_in_a_text_is_one(server: MailServer) -> None:
    inputs = {"subject": "Hello", "text": "%first_name%"}
    outcome = sent(plain(server), traits={**TRAITS, "first_name": "a\r\n.\r\nQUIT\r\n\r\nb"}, inputs=inputs)
    assert outcome.result is Result.DONE
    assert server.taken[0].texts == ["a\n.\nQUIT\n\nb\n"]
    assert "QUIT" not in server.steps


@pytest.mark.parametrize(
    "address",
    ["ann@example.com\r\nRCPT TO:<x@y.zz>", "a b@example.com", '"a b"@example.com', "änn@example.com", "ann", "<>", 7],
)
def test_what_is_no_plain_address_is_refused(server: MailServer, address: Any) -> None:
    outcome = sent(plain(server), traits={**TRAITS, "email_address": address})
    assert (outcome.result, server.steps) == (Result.REJECTED, [])


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("name", [*TRAITS, *INPUTS, "html", "copy_to", "to"])
def test_hostile_values_reach_nobody_else(server: MailServer, name: str, value: Any) -> None:
    action = SendEmailTo if name == "to" else SendEmail
    traits = {**TRAITS, name: value} if name in TRAITS else TRAITS
    inputs = {"html": "<p>%first_name|x%</p>", "to": ANN, **({} if name in TRAITS else {name: value})}
    outcome = sent(plain(server), traits=traits, inputs=inputs, action=action)
    assert outcome.message
    for mail in server.taken:
        assert mail.recipients == [ANN]
        assert mail.read["Bcc"] is mail.read["X-Evil"] is None


# --- when a step goes wrong ---------------------------------------------------------------------------------------------------

BEFORE = [GREETING, "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize("then", ["hang", "drop"])
@pytest.mark.parametrize("at", BEFORE)
def test_before_it_has_the_mail_a_silent_server_is_asked_again(safe: MailServer, at: str, then: Any) -> None:
    safe.faults = [Fault(at, then=then)]
    journal = MemoryJournal(QUICK)
    outcome = sent(signed(safe), journal)
    assert (outcome.result, outcome.may_have_acted, outcome.failed) == (Result.WAITING, False, True), outcome
    assert journal.exchanges[0].sent is False
    safe.faults = []
    assert sent(signed(safe)).result is Result.DONE


@pytest.mark.parametrize("then", ["hang", "drop"])
def test_afterwards_a_person_decides(safe: MailServer, then: Any) -> None:
    safe.faults = [Fault(TAKEN, then=then)]
    journal = MemoryJournal(3.0)  # long enough to hand the mail over on a busy machine
    outcome = sent(signed(safe), journal)
    assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)
    assert outcome.message.startswith("localhost was given the mail, and did not say that it has it.")
    assert journal.exchanges[0].sent is True
    again = run(replace(work(signed(safe)), may_have_acted=True), journal.again())
    assert (again.result, len(safe.taken)) == (Result.UNCERTAIN, 1)


@pytest.mark.parametrize("says", ["421 4.3.2 closing", "450 4.2.1 busy", "451 4.7.1 greylisted", "454 4.7.0 not now"])
@pytest.mark.parametrize("at", [*BEFORE, TAKEN])
def test_4xx_is_tried_again(safe: MailServer, at: str, says: str) -> None:
    safe.faults = [Fault(at, says)]
    outcome = sent(signed(safe))
    assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)
    assert (says in outcome.message, safe.taken) == (True, [])


@pytest.mark.parametrize("says", ["550 5.1.1 no such user", "554 5.7.1 no", "552 5.2.2 full"])
@pytest.mark.parametrize("at", ["MAIL", "RCPT", "DATA", TAKEN])
def test_5xx_is_a_refusal_in_the_servers_words(safe: MailServer, at: str, says: str) -> None:
    safe.faults = [Fault(at, says)]
    journal = MemoryJournal()
    outcome = sent(signed(safe), journal)
    assert (outcome.result, outcome.may_have_acted) == (Result.REJECTED, False)
    assert outcome.message.startswith(f"localhost said {says} (")
    assert (safe.taken, journal.refusals) == ([], ["write"])


@pytest.mark.parametrize(
    ("at", "says"), [(GREETING, "554 5.7.1 we do not know you"), ("EHLO", "550 no"), ("STARTTLS", "501 no")]
)
def test_a_server_that_takes_nothing_from_us_holds_the_connection(safe: MailServer, at: str, says: str) -> None:
    safe.faults = [Fault(at, says)]
    outcome = sent(signed(safe))
    assert (outcome.result, outcome.reason, outcome.may_have_acted) == (Result.HELD, "credentials", False)
    assert says in outcome.message


@pytest.mark.parametrize("wrong", [{"password": "another-password"}, {"user": "somebody@example.com"}])
def test_a_refused_sign_in_holds_the_connection(safe: MailServer, wrong: dict[str, str]) -> None:
    outcome = sent(signed(safe, **wrong))
    assert (outcome.result, outcome.reason) == (Result.HELD, "credentials")
    assert "535" in outcome.message
    assert "MAIL" not in safe.steps


def test_one_that_is_demanded_later_too(safe: MailServer) -> None:
    outcome = sent(signed(safe, user="", password=""))
    assert (outcome.result, "530" in outcome.message) == (Result.HELD, True)


def test_a_password_is_never_sent_in_the_clear(settings: Settings) -> None:
    """STARTTLS is missing: an old server, or somebody on the way who took it out of the greeting."""
    with mail_server(signing=True) as running:
        settings.ENGAGE_PRIVATE_HOSTS = [running.address]
        outcome = sent(signed(running))
        assert (outcome.result, running.steps) == (
            Result.HELD,
            ["EHLO", "EHLO"],
        )  # the try, and the test of the connection
    assert outcome.message.startswith("localhost offers no STARTTLS, so nothing was sent.")


def test_without_a_sign_in_at_the_server(server: MailServer) -> None:
    outcome = sent(plain(server, user=USER, password=PASSWORD))
    assert (outcome.result, outcome.message) == (
        Result.HELD,
        "localhost offers no sign-in by user name and password.",
    )


def test_a_password_that_smtp_cannot_carry(safe: MailServer) -> None:
    outcome = sent(signed(safe, password="pässwörd-of-ann"))
    assert (outcome.result, "a letter that this sign-in cannot carry" in outcome.message) == (Result.HELD, True)


def test_a_server_that_repeats_the_password_is_not_quoted(safe: MailServer) -> None:
    for secret in secrets_of(signed(safe)):
        for at in ("AUTH", "RCPT"):
            safe.faults = [Fault(at, f"550 you said {secret}.")]
            assert "you said [secret]." in sent(signed(safe)).message


def test_a_certificate_of_another_name(
    settings: Settings, certificates: Certificates, tmp_path: Path, monkeypatch: Any
) -> None:
    other = Certificates(tmp_path, "mail.elsewhere.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.file))
    for options, security in (({"tls": other.context}, "smtps"), ({"starttls": other.context}, "smtp+starttls")):
        with mail_server(**options) as running:
            settings.ENGAGE_PRIVATE_HOSTS = [running.address]
            outcome = sent(plain(running, security=security))
            assert (outcome.result, running.taken) == (Result.HELD, [])
            assert "The certificate of localhost cannot be relied on" in outcome.message


def test_a_certificate_that_nobody_knows(settings: Settings, certificates: Certificates, monkeypatch: Any) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with mail_server(tls=certificates.context) as running:
        settings.ENGAGE_PRIVATE_HOSTS = [running.address]
        assert sent(plain(running, security="smtps")).result is Result.HELD


@pytest.mark.parametrize("at", ["MAIL", "RCPT"])
def test_a_reply_of_no_kind_before_it_has_the_mail(safe: MailServer, at: str) -> None:
    for says in ("299 maybe", "hello", "354 go on"):
        safe.faults = [Fault(at, says)]
        outcome = sent(signed(safe))
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)


def test_a_reply_of_no_kind_afterwards(safe: MailServer) -> None:
    for says in ("299 maybe", "hello", "354 go on"):
        safe.faults = [Fault(TAKEN, says)]
        outcome = sent(signed(safe))
        assert (outcome.result, outcome.may_have_acted) == (Result.UNCERTAIN, True)


@pytest.mark.parametrize("at", [GREETING, "EHLO", "RCPT", TAKEN])
def test_a_server_that_says_too_much(safe: MailServer, at: str) -> None:
    code = 220 if at == GREETING else 250
    safe.faults = [Fault(at, "\r\n".join([*[f"{code}-{'x' * 500}"] * 1000, f"{code} welcome"]))]
    outcome = sent(signed(safe))
    assert outcome.result is (Result.UNCERTAIN if at == TAKEN else Result.WAITING)
    assert len(str(outcome)) < 2000


def test_one_recipient_who_is_refused_is_all(server: MailServer) -> None:
    server.faults = [Fault("RCPT", "550 no")]
    outcome = sent(plain(server), inputs={"copy_to": "team@shop.example"})
    assert (outcome.result, server.steps.count("RCPT"), server.taken) == (Result.REJECTED, 1, [])


def test_a_server_older_than_ehlo(server: MailServer) -> None:
    server.faults = [Fault("EHLO", "502 5.5.1 what?")]
    assert sent(plain(server)).result is Result.DONE
    assert server.steps[:2] == ["EHLO", "HELO"]


def test_nobody_listens(settings: Settings) -> None:
    with mail_server() as running:
        settings.ENGAGE_PRIVATE_HOSTS = [running.address]
        gone = plain(running)
    outcome = sent(gone)
    assert (outcome.result, outcome.message) == (
        Result.WAITING,
        "localhost could not be reached, or does not answer as a mail server.",
    )


@pytest.mark.parametrize("security", ["smtp", "smtp+starttls", "smtps"])
def test_a_server_that_says_nothing(settings: Settings, security: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings.ENGAGE_PRIVATE_HOSTS = [f"localhost:{port}"]
        told = {"host": "localhost", "port": port, "security": security, "from_email": SENDER}
        outcome = sent(told, MemoryJournal(QUICK))
        assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)


def test_a_server_that_does_not_begin_with_tls(server: MailServer) -> None:
    outcome = sent(plain(server, security="smtps"))
    assert (outcome.result, outcome.may_have_acted) == (Result.WAITING, False)


def test_a_server_on_a_private_network_is_called_only_where_it_is_listed(
    server: MailServer, settings: Settings
) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = []
    outcome = sent(plain(server))
    assert (outcome.result, outcome.may_have_acted, server.steps) == (Result.REJECTED, False, [])
    assert "private network" in outcome.message


# --- the connection -----------------------------------------------------------------------------------------------------------


def test_a_test_signs_in_and_sends_nothing(safe: MailServer) -> None:
    report = probe(Email(), signed(safe))
    assert (report.passed, report.message) == (True, f"{USER} signs in to localhost, which takes mail from {SENDER}.")
    assert safe.steps == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RSET"]
    assert safe.taken == []


@pytest.mark.parametrize(
    ("fault", "bad_credentials"),
    [
        (Fault("AUTH", "535 5.7.8 no"), True),
        (Fault("MAIL", "550 5.7.1 not your address"), False),
        (Fault("EHLO", then="drop"), False),
    ],
)
def test_one_that_fails_says_why(safe: MailServer, fault: Fault, bad_credentials: bool) -> None:
    safe.faults = [fault]
    report = probe(Email(), signed(safe))
    assert (report.passed, report.bad_credentials) == (False, bad_credentials)
    assert "localhost" in report.message


def typed(**changes: Any) -> dict[str, Any]:
    return {"host": "smtp.example.com", "security": "smtp+starttls", "port": "", "user": USER, "password": PASSWORD,
            "from_email": SENDER, "from_name": "", "reply_to": "", **changes}  # fmt: skip


@pytest.mark.parametrize(
    ("security", "url"),
    [("smtp+starttls", "smtp+starttls://smtp.example.com:587"), ("smtps", "smtps://smtp.example.com:465")],
)
def test_each_encryption_has_its_usual_port(security: str, url: str) -> None:
    form = settings_form(None, Email(), typed(security=security))
    assert form.is_valid(), form.errors
    assert Email().base_url(form.new_settings) == url
    assert Email().base_url({**form.new_settings, "port": 2525}) == url.rpartition(":")[0] + ":2525"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"security": "smtp"}, "security"),
        ({"host": "smtp.example.com/x"}, "host"),
        ({"host": "user@smtp.example.com"}, "host"),
        ({"port": "99999"}, "port"),
        ({"from_email": "änn@example.com"}, "from_email"),
        ({"from_name": "Shop\r\nBcc: a@b.com"}, "from_name"),
        ({"password": ""}, "password"),
    ],
)
def test_settings_that_do_not_fit(changes: dict[str, str], field: str) -> None:
    form = settings_form(None, Email(), typed(**changes))
    assert not form.is_valid()
    assert set(form.errors) == {field}


def test_in_the_clear_only_where_the_operator_lists_it(settings: Settings) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = ["smtp.example.com:25"]
    assert settings_form(None, Email(), typed(security="smtp")).is_valid()
    assert not settings_form(None, Email(), typed(security="smtp", port="26")).is_valid()
