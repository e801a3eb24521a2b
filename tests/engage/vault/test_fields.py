"""The encrypted field hands out neither ciphertext for a secret nor a secret that nobody asked for."""

import io
import json
import uuid

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import FieldError
from django.core.management import call_command
from django.core.serializers import deserialize
from django.core.serializers.base import DeserializationError
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from encrypted_model_fields import fields as encryption

from connectors.models import Connection
from engage.tenancy.models import App, IdentitySecret
from engage.vault.fields import PREFIX, SealedText, SealedTextField, Unreadable
from engage.vault.models import Canary
from tests import factories

SECRET = "sk-very-secret-0123456789"


@pytest.fixture
def row(app: App) -> Connection:
    return factories.ConnectionFactory(app=app, secrets={"api_key": SECRET})


def stored(row: Connection) -> str:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sealed FROM connectors_connection WHERE app_id = %s AND connector = %s", [row.app_id, row.connector]
        )
        return str(cursor.fetchone()[0])


def store(row: Connection, text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE connectors_connection SET sealed = %s WHERE app_id = %s AND connector = %s",
            [text, row.app_id, row.connector],
        )


def other_key(text: str) -> str:
    return PREFIX + Fernet(Fernet.generate_key()).encrypt(text.encode()).decode()


def test_a_secret_is_encrypted_in_the_database_and_read_back(row: Connection) -> None:
    assert stored(row).startswith(PREFIX)
    assert SECRET not in stored(row)
    assert Connection.objects.get(pk=row.pk).secrets() == {"api_key": SECRET}
    assert row.secrets_set == {"api_key": len(SECRET)}


def test_the_default_manager_leaves_the_secret_in_the_database(row: Connection) -> None:
    assert Connection.objects.get(pk=row.pk).get_deferred_fields() == {"sealed"}
    assert row.app.connections.get(pk=row.pk).get_deferred_fields() == {"sealed"}


def test_bulk_update_encrypts(row: Connection) -> None:
    row.seal({"api_key": "another-secret"})
    Connection.objects.bulk_update([row], ["sealed"])
    assert stored(row).startswith(PREFIX)
    assert Connection.objects.get(pk=row.pk).secrets() == {"api_key": "another-secret"}


def test_bulk_create_encrypts(app: App) -> None:
    made = Connection(app=app, connector="cleeng")
    made.seal({"api_key": SECRET})
    Connection.objects.bulk_create([made])
    assert stored(made).startswith(PREFIX)
    assert Connection.objects.get(pk=made.pk).secrets() == {"api_key": SECRET}


@pytest.mark.parametrize("expression", [Value("plain"), F("connector"), Concat(Value("a"), F("name")), 5, b"bytes"])
def test_an_update_that_would_store_a_plain_text_is_refused_and_changes_nothing(
    row: Connection, expression: object
) -> None:
    before = stored(row)
    with pytest.raises(FieldError), transaction.atomic():
        Connection.objects.filter(pk=row.pk).update(sealed=expression)
    assert stored(row) == before


def test_an_update_with_a_text_or_with_a_value_of_the_field_encrypts(row: Connection) -> None:
    for given in ("text", Value("text", output_field=SealedTextField())):
        Connection.objects.filter(pk=row.pk).update(sealed=given)
        assert stored(row).startswith(PREFIX)
        sealed = Connection.objects.values_list("sealed", flat=True).get(pk=row.pk)
        assert isinstance(sealed, SealedText)
        assert sealed.reveal() == "text"


def test_creating_with_an_expression_is_refused(app: App) -> None:
    with pytest.raises(FieldError), transaction.atomic():
        Connection.objects.create(app=app, connector="cleeng", sealed=Concat(Value("a"), Value("b")))  # type: ignore[misc] # what is refused
    assert not Connection.objects.filter(app=app).exists()


def test_a_wrong_key_raises_and_never_gives_the_ciphertext(row: Connection) -> None:
    store(row, other_key("x"))
    found = Connection.objects.get(pk=row.pk)
    with pytest.raises(Unreadable) as failure:
        found.secrets()
    assert stored(row).removeprefix(PREFIX) not in str(failure.value)


def test_saving_an_unreadable_row_leaves_its_ciphertext_as_it_is(row: Connection) -> None:
    token = other_key("x")
    store(row, token)
    found = Connection.objects.get(pk=row.pk)
    found.refresh_from_db(fields=["sealed"])
    found.active = False
    found.save()
    assert stored(row) == token


def test_a_plain_text_in_the_column_is_refused(row: Connection) -> None:
    for text in (SECRET, encryption.encrypt_str(SECRET).decode()):
        store(row, text)
        with pytest.raises(Unreadable):
            Connection.objects.get(pk=row.pk).secrets()


def test_validating_a_pasted_token_does_not_decrypt_it(db: None) -> None:
    token = encryption.encrypt_str(SECRET).decode()
    for pasted in (token, PREFIX + token):
        canary = Canary(text=pasted)
        canary.full_clean()
        assert canary.text == pasted  # not saved yet: what was assigned
        canary.save()
        assert Canary.objects.get(pk=canary.pk).text.reveal() == pasted


def test_values_and_reprs_give_no_plain_text(row: Connection) -> None:
    rows = [*Connection.objects.values(), *Connection.objects.values_list(), *Connection.objects.values("sealed")]
    assert len(rows) == 3
    assert SECRET not in repr(rows)
    assert PREFIX not in repr(rows)
    assert SECRET not in str(rows)


@pytest.mark.parametrize("kind", ["json", "jsonl", "xml"])
def test_a_dump_holds_neither_plain_text_nor_ciphertext(row: Connection, kind: str) -> None:
    IdentitySecret.make(row.app)
    dump = io.StringIO()
    call_command("dumpdata", "connectors", "tenancy", "vault", format=kind, stdout=dump)
    assert "cleeng" in dump.getvalue()
    assert SECRET not in dump.getvalue()
    assert PREFIX not in dump.getvalue()


def test_a_dump_is_read_back_without_secrets(row: Connection) -> None:
    dump = io.StringIO()
    call_command("dumpdata", "connectors.connection", stdout=dump)
    rows = json.loads(dump.getvalue())
    rows[0]["pk"], rows[0]["fields"]["name"] = str(uuid.uuid4()), "a second"
    for read in deserialize("json", json.dumps(rows)):
        read.save()
    second = Connection.objects.get(name="a second")
    assert second.secrets() == {}
    assert Connection.objects.get(pk=row.pk).secrets() == {"api_key": SECRET}


def test_a_dump_never_overwrites_the_canary(db: None) -> None:
    dump = io.StringIO()
    call_command("dumpdata", "vault", stdout=dump)
    assert "vault.canary" in dump.getvalue()
    with pytest.raises(DeserializationError, match="not part of a dump"):
        list(deserialize("json", dump.getvalue()))


def test_a_blob_moved_to_another_row_does_not_open_there(row: Connection, other_app: App) -> None:
    other = factories.ConnectionFactory(app=other_app, secrets={"api_key": "mine"})
    store(other, stored(row))
    with pytest.raises(Unreadable, match="sealed for another row"):
        Connection.objects.get(pk=other.pk).secrets()


def test_a_blob_does_not_open_after_its_account_was_changed(row: Connection) -> None:
    Connection.objects.filter(pk=row.pk).update(generation=F("generation") + 1)
    with pytest.raises(Unreadable, match="sealed for another row"):
        Connection.objects.get(pk=row.pk).secrets()


def test_no_secrets_are_no_blob(row: Connection) -> None:
    row.seal({"api_key": ""})
    row.save()
    found = Connection.objects.get(pk=row.pk)
    assert found.sealed is None
    assert found.secrets() == {}
    assert found.secrets_set == {}
