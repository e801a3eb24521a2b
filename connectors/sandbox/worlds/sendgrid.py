"""SendGrid's API v3, as its reference describes it: what Engage asks of it.

https://www.twilio.com/docs/sendgrid/api-reference. The mount point stands for `https://api.sendgrid.com/v3`, and `/files` below it
for the S3 bucket in which exports lie. Every mail that can be delivered is delivered at once. Lists change by jobs, which take some
seconds. Left out: a second page of a list, fields of contacts beyond their names, the Event Webhook.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from connectors.sandbox.http import Refusal, Request, Response, Route, objects, routed
from connectors.sandbox.people import AVA, CHLOE, DIEGO, EMMA, GRACE, PEOPLE
from connectors.sandbox.store import Json, Store
from connectors.sandbox.world import Table, World

KEY, LABEL = "sendgrid", "SendGrid"
API_KEY = "SG.sandbox-not-a-real-one.not-a-real-credential-00000000000000000000000"
JOB_SECONDS = 2.0
DOMAIN = "streamly.example"
"""Mail comes from addresses of this domain alone."""
SCOPES = (
    "mail.send",
    "templates.read",
    "marketing.read",
    "marketing.update",
    "asm.groups.read",
    "asm.suppressions.global.create",
)
NEWSLETTER, WINBACK = "3f6d2c10-9a41-4a0e-8f5b-000000000001", "3f6d2c10-9a41-4a0e-8f5b-000000000002"
LISTS = {NEWSLETTER: "Newsletter", WINBACK: "Win back"}
GROUPS = {1701: "Offers", 1702: "New films"}
WELCOME, THANKS, DRAFT = "d-00000000000000000000000000000001", "d-00000000000000000000000000000002", "d-draft"
FILES = "https://streamly-sandbox.s3.amazonaws.com"


# --- the world at its start -----------------------------------------------------------------------------------------------


def _template(number: str, name: str, active: int, generation: str = "dynamic") -> Json:
    version = {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, number)), "active": active, "name": name, "subject": name}
    return {"id": number, "name": name, "generation": generation, "versions": [version]}


TEMPLATES = (
    _template(WELCOME, "Welcome back", 1),
    _template(THANKS, "Thank you for staying", 1),
    _template(DRAFT, "Draft without an active version", 0),
    _template("legacy-template", "Template of the old kind", 1, "legacy"),
)


def seed(store: Store, _: Json | None = None) -> None:
    """Fill the world. Emma is nobody's contact yet, and Grace wants no mail."""
    on = {AVA: [NEWSLETTER], CHLOE: [NEWSLETTER, WINBACK], DIEGO: [WINBACK]}
    for person in PEOPLE:
        if person is not EMMA:
            names = {"first_name": person.first, "last_name": person.last, "external_id": person.user_id}
            _put_contact(store, person.email, on.get(person, []), names)
    store.put(KEY, "unsubscribed", GRACE.email, {"email": GRACE.email})


def _put_contact(store: Store, email: str, lists: list[str], names: Json) -> None:
    number = str(uuid.uuid5(uuid.NAMESPACE_URL, email))
    store.put(KEY, "contact", email, {"id": number, "email": email, "list_ids": lists} | names)


def setup(_: Store) -> Mapping[str, str]:
    """Return the settings of the connection."""
    return {
        "region": "global",
        "api_key": API_KEY,
        "from_email": f"hello@{DOMAIN}",
        "from_name": "Streamly",
    }


# --- answering ------------------------------------------------------------------------------------------------------------


def answer(request: Request, store: Store) -> Response:
    """Answer one request, inside the store's transaction."""
    is_file = request.path.startswith("/files/")
    if not is_file and request.bearer() != API_KEY:
        return Response(HTTPStatus.UNAUTHORIZED, _errors("authorization required"))
    finish_jobs(store)
    return routed(request, store, ROUTES, nothing=lambda status: _errors(status.phrase.lower()))


def _errors(message: str, field: str | None = None) -> Json:
    return {"errors": [{"field": field, "message": message}]}


def _refusal(message: str, field: str | None = None, status: int = HTTPStatus.BAD_REQUEST) -> Refusal:
    return Refusal(status, _errors(message, field))


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and "@" in value[1:-1] and " " not in value


def list_scopes(*_: object) -> Response:
    """`GET /scopes`."""
    return Response(body={"scopes": SCOPES})


def list_templates(request: Request, _: Store) -> Response:
    """`GET /templates`: `page_size` is required, and `generations` is legacy unless it says otherwise."""
    size = request.first("page_size")
    if not size.isdecimal() or not 1 <= int(size[:9]) <= 200:
        raise _refusal("page_size must be between 1 and 200", "page_size")
    kinds = request.first("generations", "legacy").split(",")
    found = [template for template in TEMPLATES if template["generation"] in kinds]
    return Response(body={"result": found, "_metadata": {"count": len(found)}})


def get_template(_: Request, __: Store, number: str) -> Response:
    """`GET /templates/{template_id}`."""
    for template in TEMPLATES:
        if template["id"] == number:
            return Response(body=template)
    raise Refusal(HTTPStatus.NOT_FOUND, {"error": "template not found"})


def list_groups(*_: object) -> Response:
    """`GET /asm/groups`."""
    return Response(body=[{"id": number, "name": name, "description": name} for number, name in GROUPS.items()])


def unsubscribe(request: Request, store: Store) -> Response:
    """`POST /asm/suppressions/global`."""
    given = request.members().get("recipient_emails")
    if not isinstance(given, list) or not given or not all(map(_is_address, given)):
        raise _refusal("recipient_emails must be a list of e-mail addresses", "recipient_emails")
    emails = [email.lower() for email in given]
    for email in emails:
        if store.get(KEY, "unsubscribed", email) is None:
            store.put(KEY, "unsubscribed", email, {"email": email})
            store.effect(KEY, "unsubscribed", email)
    return Response(HTTPStatus.CREATED, {"recipient_emails": emails})


def send_mail(request: Request, store: Store) -> Response:
    """`POST /mail/send`: 202 even where nothing is delivered, because of the template or of who gets it."""
    mail = request.members()
    people, sender = objects(mail.get("personalizations")), mail.get("from")
    if not people:
        raise _refusal(
            "The personalizations field is required and must have at least one personalization.", "personalizations"
        )
    email = sender.get("email") if isinstance(sender, dict) else None
    if not _is_address(email):
        raise _refusal("The from email does not contain a valid address.", "from.email")
    if not str(email).endswith(f"@{DOMAIN}"):
        words = "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved."
        raise _refusal(words, "from", HTTPStatus.FORBIDDEN)
    recipients = [(one, person) for person in people for one in objects(person.get("to"))]
    if not recipients or not all(_is_address(one.get("email")) for one, _ in recipients):
        raise _refusal("Does not contain a valid address.", "personalizations.0.to.0.email")
    if not isinstance(mail.get("template_id"), str):
        raise _refusal("Unless a valid template_id is provided, the content parameter is required.", "content")
    asm = mail.get("asm")
    if asm is not None and (not isinstance(asm, dict) or not _is_one_of(asm.get("group_id"), GROUPS)):
        raise _refusal("The asm group_id does not exist.", "asm.group_id")
    if _in_sandbox_mode(mail):
        return Response(HTTPStatus.OK, raw="")
    number = uuid.uuid4().hex[:22]
    template = next((one for one in TEMPLATES if one["id"] == mail["template_id"]), None)
    for to, person in recipients:
        _deliver(store, number, str(to["email"]), template, person.get("dynamic_template_data"))
    return Response(HTTPStatus.ACCEPTED, headers={"X-Message-Id": number}, raw="")


def _is_one_of(value: Any, known: Mapping[int, str]) -> bool:
    return isinstance(value, int) and value in known


def _in_sandbox_mode(mail: Json) -> bool:
    settings = mail.get("mail_settings")
    mode = settings.get("sandbox_mode") if isinstance(settings, dict) else None
    return isinstance(mode, dict) and mode.get("enable") is True


def _deliver(store: Store, number: str, email: str, template: Json | None, data: Any) -> None:
    """Deliver a mail, or drop it as SendGrid does."""
    why = ""
    if template is None or not any(version["active"] for version in template["versions"]):
        why = "the template has no active version"
    elif store.get(KEY, "unsubscribed", email.lower()):
        why = "unsubscribed"
    name = template["name"] if template else ""
    told = json.dumps(data) if data else ""
    mail = {"to": email, "template": name, "data": told, "state": f"dropped: {why}" if why else "delivered"}
    store.put(KEY, "mail", f"{number}.{email}", mail | {"id": number})
    store.effect(
        KEY, "message_dropped" if why else "message_sent", email, **({"why": why} if why else {"template": name})
    )


# --- contacts and their lists ---------------------------------------------------------------------------------------------


def list_lists(_: Request, store: Store) -> Response:
    """`GET /marketing/lists`."""
    contacts = store.all(KEY, "contact")
    rows = [
        {"id": number, "name": name, "contact_count": sum(number in one["list_ids"] for one in contacts)}
        for number, name in LISTS.items()
    ]
    return Response(body={"result": rows, "_metadata": {"count": len(rows)}})


def put_contacts(request: Request, store: Store) -> Response:
    """`PUT /marketing/contacts`: one bad address refuses all of them."""
    body = request.members()
    contacts, lists = objects(body.get("contacts")), body.get("list_ids", [])
    if not contacts:
        raise _refusal("at least one contact is required", "contacts")
    if not isinstance(lists, list) or not all(isinstance(one, str) and one in LISTS for one in lists):
        raise _refusal("list_ids holds the id of a list that does not exist", "list_ids")
    for number, contact in enumerate(contacts):
        if not _is_address(contact.get("email")):
            raise _refusal(f"email '{contact.get('email')}' is not valid", f"contacts[{number}].email")
    return _queue(store, "upsert", emails=[one["email"].lower() for one in contacts], lists=lists)


def remove_contacts(request: Request, store: Store, number: str) -> Response:
    """`DELETE /marketing/lists/{id}/contacts?contact_ids=`."""
    if number not in LISTS:
        raise _refusal("list not found", status=HTTPStatus.NOT_FOUND)
    ids = set(filter(None, request.first("contact_ids").split(",")))
    if not ids:
        raise _refusal("contact_ids is required", "contact_ids")
    emails = [one["email"] for one in store.all(KEY, "contact") if one["id"] in ids]
    return _queue(store, "remove", emails=emails, lists=[number])


def _queue(store: Store, kind: str, **wish: Any) -> Response:
    job = {"id": str(uuid.uuid4()), "status": "pending", "job_type": kind, "dueAt": store.now() + JOB_SECONDS} | wish
    store.put(KEY, "job", job["id"], job)
    return Response(HTTPStatus.ACCEPTED, {"job_id": job["id"]})


def get_import(_: Request, store: Store, number: str) -> Response:
    """`GET /marketing/contacts/imports/{id}`."""
    job = store.get(KEY, "job", number)
    if job is None or job["job_type"] != "upsert":
        raise _refusal("not found", status=HTTPStatus.NOT_FOUND)
    shown = {name: job[name] for name in ("id", "status", "job_type")}
    counts = {"requested_count": len(job["emails"]), "updated_count": len(job["emails"]), "errored_count": 0}
    return Response(body=shown | ({"results": counts} if job["status"] == "completed" else {}))


def finish_jobs(store: Store) -> None:
    """Carry out the jobs whose time has come (asked before every answer, so that nobody needs a timer)."""
    for job in store.all(KEY, "job"):
        if job["status"] != "pending" or job["dueAt"] > store.now():
            continue
        for email in job["emails"]:
            contact = store.get(KEY, "contact", email) or {"list_ids": []}
            before = contact.pop("list_ids")
            if job["job_type"] == "upsert":
                after = [*before, *(one for one in job["lists"] if one not in before)]
            else:
                after = [one for one in before if one not in job["lists"]]
            _put_contact(store, email, after, contact)
            for number in job["lists"]:
                store.effect(
                    KEY, "added_to_list" if number in after else "removed_from_list", email, list=LISTS[number]
                )
        store.put(KEY, "job", job["id"], job | {"status": "completed"})


def search_contacts(request: Request, store: Store) -> Response:
    """`POST /marketing/contacts/search/emails`: 404 where none of them is known."""
    emails = request.members().get("emails")
    if not isinstance(emails, list) or not emails or not all(isinstance(one, str) for one in emails):
        raise _refusal("emails is required", "emails")
    found = {email: store.get(KEY, "contact", email.lower()) for email in emails}
    if not any(found.values()):
        raise _refusal("not found", status=HTTPStatus.NOT_FOUND)
    rows = {email: {"contact": one} if one else {"error": "contact not found"} for email, one in found.items()}
    return Response(body={"result": rows})


def begin_export(_: Request, store: Store) -> Response:
    """`POST /marketing/contacts/exports`: all contacts, as they are now."""
    number = str(uuid.uuid4())
    lines = [
        json.dumps(
            {name: value for name, value in one.items() if name not in {"id", "list_ids"}} | {"contact_id": one["id"]}
        )
        for one in store.all(KEY, "contact")
    ]
    store.put(KEY, "export", number, {"text": "\n".join(lines)})
    return Response(HTTPStatus.ACCEPTED, {"id": number})


def get_export(_: Request, store: Store, number: str) -> Response:
    """`GET /marketing/contacts/exports/{id}`: it is ready at once."""
    _exported(store, number)
    return Response(body={"id": number, "status": "ready", "urls": [f"{FILES}/{number}.json"]})


def get_file(_: Request, store: Store, number: str) -> Response:
    """Give out a file of an export, to whoever knows its address."""
    return Response(raw=_exported(store, number), content_type="binary/octet-stream")


def _exported(store: Store, number: str) -> str:
    export = store.get(KEY, "export", number)
    if export is None:
        raise _refusal("not found", status=HTTPStatus.NOT_FOUND)
    return str(export["text"])


ROUTES: tuple[Route, ...] = (
    ("GET", "/scopes", list_scopes),
    ("GET", "/templates", list_templates),
    ("GET", "/templates/([^/]+)", get_template),
    ("GET", "/asm/groups", list_groups),
    ("POST", "/asm/suppressions/global", unsubscribe),
    ("POST", "/mail/send", send_mail),
    ("GET", "/marketing/lists", list_lists),
    ("DELETE", "/marketing/lists/([^/]+)/contacts", remove_contacts),
    ("PUT", "/marketing/contacts", put_contacts),
    ("GET", "/marketing/contacts/imports/([^/]+)", get_import),
    ("POST", "/marketing/contacts/search/emails", search_contacts),
    ("POST", "/marketing/contacts/exports", begin_export),
    ("GET", "/marketing/contacts/exports/([^/]+)", get_export),
    ("GET", r"/files/([^/]+)\.json", get_file),
)


# --- shown to people --------------------------------------------------------------------------------------------------------


def state(store: Store) -> Json:
    """Return this world for the control API."""
    finish_jobs(store)
    return {f"{kind}s": store.all(KEY, kind) for kind in ("mail", "contact", "job")} | {
        "unsubscribed": store.all(KEY, "unsubscribed")
    }


def tables(store: Store) -> Sequence[Table]:
    """Return the mails and the contacts."""
    world = state(store)
    mails = [(row["to"], row["template"], row["data"], row["state"], row["id"]) for row in reversed(world["mails"])]
    unsubscribed = {row["email"] for row in world["unsubscribed"]}
    contacts = [
        (
            row["email"],
            ", ".join(LISTS[number] for number in row["list_ids"]),
            "wants no mail" if row["email"] in unsubscribed else "",
        )
        for row in world["contacts"]
    ]
    return [
        ("Mails", ("To", "Template", "Data", "State", "Message id"), mails),
        ("Contacts", ("E-mail", "Lists", ""), contacts),
    ]


WORLD = World(
    key=KEY,
    label=LABEL,
    setup=setup,
    answer=answer,
    state=state,
    tables=tables,
    seed=seed,
)
