"""Marketing Cloud's SOAP API, as far as lists need it: Create, Update and Retrieve.

https://developer.salesforce.com/docs/marketing/marketing-cloud/guide/working_with_soap_web_service_api.html and the WSDL. The
envelope is the documentation's: SOAP 1.2, with the name of the method in a header of the envelope.
"""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from requests import PreparedRequest
from requests.auth import AuthBase

from connectors.answers import Answer
from connectors.failures import AlreadyDone, BadCredentials, Failure, Rejected, Undocumented, refused
from connectors.http import Api

MOST_PAGES = 50  # of 2,500 rows each
ON_LIST_ALREADY = {"12014", "13006"}
REFUSED_TOKEN = {"Token Expired", "Login Failed"}
_ROOM = '<fueloauth xmlns="http://exacttarget.com"/>'


class FuelOAuth(AuthBase):
    """Puts the token where the envelope has room for it: the SOAP API takes it in no HTTP header."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Return the request, signed. What people wrote is escaped, so that the first place is the envelope's own."""
        signed = f'<fueloauth xmlns="http://exacttarget.com">{escape(self.token)}</fueloauth>'
        if isinstance(request.body, bytes):
            request.body = request.body.replace(_ROOM.encode(), signed.encode(), 1)
        return request


def element(name: str, value: object) -> str:
    """Return an element with a text.

    Raises:
        Rejected: XML cannot carry it.

    """
    text = str(value)
    if not text.isprintable():
        raise Rejected("A value holds a sign that Marketing Cloud cannot be sent.")
    return f"<{name}>{escape(text)}</{name}>"


def envelope(api: Api, method: str, body: str) -> str:
    """Return a request of a method, addressed to the vendor's own host."""
    to = f"{api.connector.hosts(api.settings)['soap']}/Service.asmx"
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f'<s:Header><a:Action s:mustUnderstand="1">{method}</a:Action><a:To s:mustUnderstand="1">{to}</a:To>{_ROOM}</s:Header>'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    )


def create(api: Api, subscriber: str, *, step: str) -> None:
    """Make somebody a subscriber, or change the one there is (UpdateAdd)."""
    save = "<SaveOption><PropertyName>*</PropertyName><SaveAction>UpdateAdd</SaveAction></SaveOption>"
    _save(api, "Create", f"<Options><SaveOptions>{save}</SaveOptions></Options>", subscriber, step)


def update(api: Api, subscriber: str, *, step: str) -> None:
    """Change a subscriber."""
    _save(api, "Update", "<Options/>", subscriber, step)


def _save(api: Api, method: str, options: str, subscriber: str, step: str) -> None:
    objects = f'<Objects xsi:type="Subscriber">{subscriber}</Objects>'
    request = f'<{method}Request xmlns="http://exacttarget.com/wsdl/partnerAPI">{options}{objects}</{method}Request>'
    answer = api.at("soap").post("Service.asmx", xml=envelope(api, method, request), step=step)
    said = answer["Envelope"]["Body"][f"{method}Response"]
    said.shows("OverallStatus", "OK")
    said.part("Results").shows("StatusCode", "OK")


def retrieve(
    api: Api, kind: str, properties: tuple[str, ...], equals: tuple[str, str] | None = None
) -> Iterator[Answer]:
    """Read all objects of a kind, page by page."""
    wanted = "".join(element("Properties", name) for name in properties)
    where = ""
    if equals:
        parts = element("Property", equals[0]) + "<SimpleOperator>equals</SimpleOperator>" + element("Value", equals[1])
        where = f'<Filter xsi:type="SimpleFilterPart">{parts}</Filter>'
    more = ""
    for _ in range(MOST_PAGES):
        request = f"<RetrieveRequest>{element('ObjectType', kind)}{wanted}{where}{more}</RetrieveRequest>"
        message = f'<RetrieveRequestMsg xmlns="http://exacttarget.com/wsdl/partnerAPI">{request}</RetrieveRequestMsg>'
        answer = api.at("soap").read("Service.asmx", xml=envelope(api, "Retrieve", message))
        said = answer["Envelope"]["Body"]["RetrieveResponseMsg"]
        for row in said.each("Results"):
            if not isinstance(row, Answer):
                raise Undocumented("Marketing Cloud answered with rows that are none.")
            yield row
        if said["OverallStatus"] != "MoreDataAvailable":
            return
        wanted = where = ""
        more = element("ContinueRequest", said["RequestID"])
    raise Rejected(f"Marketing Cloud has more than {MOST_PAGES} pages of {kind}.")


def failure(answer: Answer) -> Failure | None:
    """Read an envelope: a fault (status 500), or a result that is an error inside a 200."""
    envelope = answer.get("Envelope")
    body = envelope.get("Body") if isinstance(envelope, Answer) else None
    if not isinstance(body, Answer):
        return None
    if isinstance(fault := body.get("Fault"), Answer):
        words = _words_of(fault)
        # Whatever else a fault says, it comes with status 500, and may be over in a minute.
        return BadCredentials(f"Marketing Cloud says: {words}") if words in REFUSED_TOKEN else None
    for name in ("CreateResponse", "UpdateResponse"):
        saved = body.get(name)
        for row in saved.each("Results") if isinstance(saved, Answer) else ():
            if isinstance(row, Answer) and row.get("StatusCode") == "Error":
                return _refusal(row)
    listed = body.get("RetrieveResponseMsg")
    overall = listed.get("OverallStatus") if isinstance(listed, Answer) else None
    if isinstance(overall, str) and overall.startswith("Error"):
        return refused("Marketing Cloud", overall)
    return None


def _refusal(row: Answer) -> Failure:
    code, words = str(row.get("ErrorCode", "")), row.get("StatusMessage")
    if code in ON_LIST_ALREADY:
        return AlreadyDone("The subscriber is on the list already", code=code)
    return refused("Marketing Cloud", words if isinstance(words, str) else "", code=code)


def _words_of(fault: Answer) -> str:
    """The sentence of a fault, of SOAP 1.1 or 1.2."""
    reason = fault.get("Reason")
    words = reason.get("Text") if isinstance(reason, Answer) else fault.get("faultstring")
    return words.strip() if isinstance(words, str) else ""
