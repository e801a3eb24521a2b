"""The address to which vendors send their webhooks: one for each connection, `/hooks/<its id>`."""

import logging
from uuid import UUID

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from connectors.inbound import LARGEST_BODY, Forged, NoKey, Request
from connectors.models import Connection
from connectors.registry import connector_or_none
from engage.logs import about
from engage.vault.fields import Unreadable
from sync import inbound

logger = logging.getLogger(__name__)


@csrf_exempt
@never_cache
def receive(request: HttpRequest, connection: UUID) -> HttpResponse:
    """Take in a vendor's message: 2xx once it is stored, also when it was there already.

    Nothing is said of why somebody is refused. 503, which vendors repeat, is for what no sender can help: secrets that this
    installation cannot open, and published keys that it cannot fetch. A switched off connection answers as if it were on
    (`sync.inbound` says why).
    """
    row = Connection.objects.filter(pk=connection).first()
    declared = connector_or_none(row.connector) if row else None
    if row is None or declared is None or declared.inbound is None:
        return _answer(404)
    if request.method not in declared.inbound.methods:
        refusal = _answer(405)
        refusal["Allow"] = ", ".join(sorted(declared.inbound.methods))
        return refusal
    with about(connection=row.pk):
        try:
            body = _body(request)
        except RequestDataTooBig:
            return _answer(413)
        except UnreadablePostError:
            return _answer(400)
        came = Request(
            request.method,
            body,
            {name.lower(): value for name, value in request.headers.items()},
            tuple(
                (inbound.storable(name), inbound.storable(value))
                for name, values in request.GET.lists()
                for value in values
            ),
            timezone.now(),
        )
        try:
            return _answer(200, inbound.receive(row, declared, declared.inbound, came))
        except Forged:
            return _answer(401)
        except NoKey:
            return _answer(503)
        except Unreadable:
            logger.exception("A webhook cannot be verified: the secrets of its connection cannot be opened")
            return _answer(503)


def _body(request: HttpRequest) -> bytes:
    """Return the raw body; what says that it is too large is not read."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdecimal() and int(length) > LARGEST_BODY:
        raise RequestDataTooBig
    if len(request.body) > LARGEST_BODY:
        raise RequestDataTooBig
    return request.body


def _answer(status: int, text: str = "") -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
