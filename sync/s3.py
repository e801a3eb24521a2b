"""S3 and what speaks its protocol: list the files under a prefix, stream one. The only module that imports boto3's world.

Every connection is opened by the product's own address check (`connectors.addresses`). Proxy variables and configured endpoints
play no part, and this server's own AWS credentials only where the operator allows it and the source asks for them: what is
called, and as whom, is what the source says.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, ClassVar
from urllib.parse import urlsplit

import botocore.session
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
    AWSPreparedRequest,
    AWSRequest,
    AWSResponse,
)
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)
from botocore.httpsession import URLLib3Session
from django.conf import settings
from urllib3.exceptions import HTTPError as URLLib3Error
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import ReadTimeoutError as URLLib3ReadTimeoutError

from connectors import deadlines
from connectors.addresses import checked_addresses
from connectors.deadlines import Deadline
from connectors.failures import Failure, Temporary
from connectors.http import LARGEST_ANSWER
from sync.models import Access
from sync.storage import Location, StorageProblem, StoredFile
from sync.unpack import unpacked

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 5
READ_SECONDS = 30  # for each read of a socket; a store that trickles outlives it, and so:
LIST_SECONDS = 120  # for a whole list of files,
CHUNK_SECONDS = 120  # and for each so many bytes of one:
CHUNK = 256 * 1024
MOST_FILES = 100_000


# --- connections that only go to checked addresses --------------------------------------------------------------------------


def _open_checked(connection: AWSHTTPConnection | AWSHTTPSConnection) -> socket.socket:
    """Connect to the first checked address that answers; the host's name stays for SNI and the certificate."""
    problem: OSError = OSError("no address")
    deadline = deadlines.at_hand()
    for address in checked_addresses(connection.host, connection.port):
        if deadline and not deadline.remaining():
            raise Temporary("The store took too long.", sent=False)
        try:
            opened = socket.create_connection((address, connection.port), CONNECT_SECONDS)
        except OSError as error:
            problem = error
        else:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if deadline:
                deadline.watch(opened)
            return opened
    raise NewConnectionError(connection, str(problem))


def _watch_again(connection: AWSHTTPConnection | AWSHTTPSConnection) -> None:
    """Let the deadline at hand shut a connection that is used once more: it was opened under another."""
    deadline = deadlines.at_hand()
    if deadline and connection.sock:
        deadline.watch(connection.sock)


class _Connection(AWSHTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _open_checked(self)

    def request(self, *args: Any, **options: Any) -> Any:
        _watch_again(self)
        return super().request(*args, **options)


class _TlsConnection(AWSHTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _open_checked(self)

    def request(self, *args: Any, **options: Any) -> Any:
        _watch_again(self)
        return super().request(*args, **options)


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Limited:
    """An answer's body, which `AWSResponse` reads to its end, as far as an answer may go."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        size = 0
        for piece in self._body.stream():
            size += len(piece)
            if size > LARGEST_ANSWER:
                self._body.close()
                text = f"The store answered with more than {LARGEST_ANSWER // 2**20} MB where it had little to say."
                raise StorageProblem(text, lasting=False)
            yield piece


class _Session(URLLib3Session):
    """botocore's HTTP session with our connections, without proxies, and with an end to what is read of an answer."""

    pools: ClassVar[dict[str, Any]] = {"http": _Pool, "https": _TlsPool}

    def __init__(self) -> None:
        timeouts: Any = (CONNECT_SECONDS, READ_SECONDS)  # the stubs know one number only
        super().__init__(proxies={}, timeout=timeouts, max_pool_connections=2)
        self._manager.pool_classes_by_scheme = self.pools

    _manager: Any  # the stubs leave it out

    def send(self, request: AWSRequest | AWSPreparedRequest) -> AWSResponse:
        """Send it; what the address check refuses leaves as its own exception, which botocore does not retry.

        Only the bytes of a file are left to be read; botocore would read whatever else comes to its end, however far that is.
        """
        is_file, request.stream_output = request.stream_output, True
        try:
            answer = super().send(request)
            if not is_file or answer.status_code >= 300:
                answer.raw = _Limited(answer.raw)
                _ = answer.content  # read and kept
        except HTTPClientError as error:
            cause = error.kwargs.get("error")
            if isinstance(cause, Failure):
                raise StorageProblem(cause.message, lasting=False) from None
            raise
        except URLLib3ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=str(request.url), error=error) from None
        except URLLib3Error as error:
            raise ConnectionClosedError(error=error, request=request, endpoint_url=str(request.url)) from None
        return answer


class Bucket:
    """The files of one location. Every method raises StorageProblem, with a sentence, for all that can go wrong outside."""

    def __init__(self, location: Location) -> None:
        self.location = location
        with _Sentences(location, "list"):
            self._client = _client(location)
        self._client.meta.events.register("before-call.s3", _stay_in_region)

    def files(self) -> list[StoredFile]:
        """Return all files under the prefix, oldest first; there may be `MOST_FILES`, listed within `LIST_SECONDS`."""
        found = []
        late = "The store took too long to list its files. The next run tries again."
        with (
            closing(Deadline(LIST_SECONDS)) as deadline,
            _in_time(deadline, LIST_SECONDS, late),
            _Sentences(self.location, "list"),
        ):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.location.bucket, Prefix=self.location.prefix
            )
            for page in pages:
                if "Name" not in page:  # botocore takes an empty or broken-off answer for an empty list
                    raise StorageProblem(
                        "The store's answer breaks off, or is none of an S3 store. Look for a typo in the endpoint URL.",
                        lasting=False,
                    )
                try:
                    found += [
                        StoredFile(item["Key"], item["ETag"].strip('"'), item["Size"], item["LastModified"])
                        for item in page.get("Contents", [])
                    ]
                except KeyError as missing:
                    raise StorageProblem(f"The store's list names a file without its {missing.args[0]}.") from None
                if len(found) > MOST_FILES:
                    raise StorageProblem(
                        f"There are more than {MOST_FILES:,} files under “{self.location.prefix}”. Enter a longer path, or "
                        "let the bucket delete old files."
                    )
        meant = (file for file in found if file.is_meant and self.location.means(file.key))
        return sorted(meant, key=lambda file: (file.modified_at, file.key))

    def open(self, file: StoredFile) -> "Download":
        """Begin to read a file, just as it was listed: one that was replaced or appended to meanwhile is refused.

        Not every store heeds `If-Match`, so what the answer says of the file is compared as well.
        """
        with ExitStack() as opened:
            deadline = opened.enter_context(closing(Deadline(CHUNK_SECONDS)))
            with _in_time(deadline, CHUNK_SECONDS, _too_slow(file)), _Sentences(self.location, "read", file.key):
                answer = self._client.get_object(Bucket=self.location.bucket, Key=file.key, IfMatch=file.etag)
            size = answer.get("ContentLength")
            if (answer.get("ETag", file.etag).strip('"'), size) != (file.etag, file.size):
                answer["Body"].close()
                if size is None:
                    raise StorageProblem(f"The store does not say how long {file.key} is (Content-Length).")
                raise _still_written(file)
            opened.pop_all()
        return Download(self.location, file, answer["Body"], deadline)


@contextmanager
def _in_time(deadline: Deadline, seconds: float, late: str) -> Iterator[None]:
    """Give what happens inside so many seconds, or what is left of the deadline at hand; at their end its sockets are shut.

    Raises:
        StorageProblem: they were over. `late` says it.
    """
    outer = deadlines.at_hand()
    deadline.again(min(seconds, outer.remaining()) if outer else seconds)
    try:
        with deadlines.within(deadline):
            yield
    except (StorageProblem, ValueError):  # ValueError: urllib3 found a socket shut in the middle of a read
        if deadline.remaining():
            raise
    finally:
        deadline.pause()
    if not deadline.remaining():  # also where a socket that was shut looked like the end
        raise StorageProblem(late, lasting=False)


# What would be read from the environment or from files of the person who runs the server is switched off.
_NO_CONFIGURATION = {"profile": (None, None, None, None), "config_file": (None, None, os.devnull, None)}


STS = "aws-sts"  # its name in ENGAGE_VENDOR_URLS


def _client(location: Location) -> Any:
    """Return a client for the store, signing as the source says."""
    if location.access == Access.KEY:
        if not (location.access_key_id and location.secret_access_key):
            raise StorageProblem(
                "No key is stored for this bucket. Enter the reader's access key id and secret access key."
            )
        session = botocore.session.Session(session_vars=_NO_CONFIGURATION)
        session.set_credentials(location.access_key_id, location.secret_access_key)
    elif not settings.ENGAGE_S3_OWN_CREDENTIALS:
        raise StorageProblem(
            "This server's own AWS credentials may not be used: the operator has not set ENGAGE_S3_OWN_CREDENTIALS. "
            "Use an access key."
        )
    else:
        session = botocore.session.Session()
        if session.get_credentials() is None:
            raise StorageProblem(
                "This server has no AWS credentials of its own: neither an instance or task role, nor in its environment. "
                "Ask the operator, or use an access key."
            )
        if location.access == Access.ROLE:
            session = _as_role(session, location)
    style = "path" if location.endpoint_url else "auto"
    try:
        return _checked(session, "s3", location.region, location.endpoint_url, s3={"addressing_style": style})
    except (BotoCoreError, ValueError):
        raise StorageProblem("The region or the endpoint URL cannot be used: look for a typo.") from None


def _checked(session: botocore.session.Session, service: str, region: str, endpoint_url: str, **more: Any) -> Any:
    """Return a client whose requests all leave by our own connections."""
    options: dict[str, Any] = {
        "signature_version": "s3v4" if service == "s3" else None,
        "retries": {"mode": "standard", "total_max_attempts": 3},
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "ignore_configured_endpoint_urls": True,
        **more,
    }
    client: Any = session.create_client(
        service, region_name=region, endpoint_url=endpoint_url or None, config=Config(**options)
    )
    sender = _Session()
    # `before-send` takes the request out of botocore's hands: its own session, which would heed proxies, sends nothing.
    client.meta.events.register(f"before-send.{service}", lambda request, **_: sender.send(request))
    return client


def _as_role(own: botocore.session.Session, location: Location) -> botocore.session.Session:
    """Return a session that signs with the role's credentials, asked for when they are needed and again before they end."""

    def sts(_: str, **credentials: Any) -> Any:
        asking = botocore.session.Session(session_vars=_NO_CONFIGURATION)
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        asking.set_credentials(*(credentials[name] for name in names))
        return _checked(asking, "sts", location.region, settings.ENGAGE_VENDOR_URLS.get(STS, ""))

    fetcher = AssumeRoleCredentialFetcher(
        client_creator=sts,
        source_credentials=own.get_credentials(),
        role_arn=location.role_arn,
        extra_args={"RoleSessionName": "engage", "ExternalId": location.external_id},
    )
    session = botocore.session.Session(session_vars=_NO_CONFIGURATION)
    session._credentials = DeferredRefreshableCredentials(  # type: ignore[attr-defined]  # noqa: SLF001 - the stubs lack it
        refresh_using=fetcher.fetch_credentials, method="assume-role"
    )
    return session


def _stay_in_region(context: dict[str, Any], **_: object) -> None:
    # botocore would find the right region by itself, at the price of a failed request each time; people are told instead.
    context.setdefault("s3_redirect", {})["redirected"] = True


class Download:
    """A file that is being read: iterate for its unpacked bytes. `received` counts the stored bytes so far."""

    def __init__(self, location: Location, file: StoredFile, body: Any, deadline: Deadline | None = None) -> None:
        self.location, self.file, self.received, self._body = location, file, 0, body
        self._deadline = deadline or Deadline(CHUNK_SECONDS)  # that of a store has its socket

    def __iter__(self) -> Iterator[bytes]:
        """Unpacked bytes, as they come.

        Raises:
            StorageProblem: the connection broke, or the file was written to meanwhile.
            BadFile: it cannot be unpacked.
        """
        return unpacked(self._stored())

    def close(self) -> None:
        """Let go of the connection, also when only the beginning was read."""
        self._body.close()
        self._deadline.close()

    def _stored(self) -> Iterator[bytes]:
        while piece := self._chunk():
            self.received += len(piece)
            yield piece
        if self.received != self.file.size:
            raise _still_written(self.file)

    def _chunk(self) -> bytes:
        """Return what comes next. Only the reading counts: what becomes of a chunk may take its time."""
        late = _too_slow(self.file)
        with _in_time(self._deadline, CHUNK_SECONDS, late), _Sentences(self.location, "read", self.file.key):
            piece: bytes = self._body.read(CHUNK)
        return piece


def _too_slow(file: StoredFile) -> str:
    return f"The store is too slow to read {file.key} from it. The next run tries again."


def _still_written(file: StoredFile) -> StorageProblem:
    return StorageProblem(
        f"The file {file.key} was written to after it was listed. The next run takes it as it is then.", lasting=False
    )


# --- what went wrong, as a sentence -----------------------------------------------------------------------------------------

# Codes of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, as its texts explain them.
_CODES = {
    "InvalidAccessKeyId": "The store does not know the access key id {key}. Look for a typo, or whether the key was deleted.",
    "SignatureDoesNotMatch": "The secret access key is not the one of access key id {key}. Enter the secret again.",
    "NoSuchBucket": "There is no bucket {bucket}. Look for a typo in its name{endpoint}.",
    "InvalidBucketName": "{bucket} is not a name that a bucket can have.",
    "NoSuchKey": "The file {file} is no longer in the bucket.",
    "PreconditionFailed": "The file {file} was replaced while it was about to be read. The next run takes the new one.",
    "InvalidObjectState": "The file {file} is in an archive class and cannot be read until it is restored.",
    "RequestTimeTooSkewed": "This server's clock is wrong by more than 15 minutes, so the store refuses its signatures.",
    "ExpiredToken": "The key has expired. Enter a key that lasts.",
    "InvalidToken": "The store does not accept this kind of key. Use the access key of an IAM user.",
    "AccountProblem": "The account that the bucket belongs to is blocked at the store. Its owner must ask the store.",
    "AllAccessDisabled": "The store has disabled all access to bucket {bucket}. Its owner must ask the store.",
}
_DENIED = {
    "list": "The key is known, but may not list bucket {bucket} under “{prefix}”. Allow it s3:ListBucket there (see the policy).",
    "read": "The key may list the bucket, but not read {file}. Allow it s3:GetObject there (see the policy).",
}
_PASSING = frozenset(
    {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "503", "500", "502", "504", "429"}
)
_WRONG_REGION = frozenset(
    {
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "TemporaryRedirect",
        "301",
        "307",
    }
)
CODE_SHOWN = 60  # characters of what a store says
_HTTP_NAMES = {"403": "AccessDenied", "404": "NoSuchBucket", "AllAccessDisabledException": "AllAccessDisabled"}


class _Sentences:
    """Turns everything that botocore raises inside into a StorageProblem."""

    def __init__(self, location: Location, doing: str, file: str = "") -> None:
        self.location, self.doing, self.file = location, doing, file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ClientError):
            raise self._answer(error) from None
        if isinstance(error, BotoCoreError | URLLib3Error | OSError):
            raise self._connection(error) from None

    def _answer(self, error: ClientError) -> StorageProblem:
        where = self.location
        said: dict[str, Any] = dict(error.response.get("Error", {}))
        if error.operation_name == "AssumeRole":
            return self._role(str(said.get("Code", ""))[:CODE_SHOWN])
        meta = error.response.get("ResponseMetadata", {})
        code = str(said.get("Code") or meta.get("HTTPStatusCode") or "")[:CODE_SHOWN]
        code = _HTTP_NAMES.get(code, code)
        if code in _WRONG_REGION:
            right = str(said.get("Region") or meta.get("HTTPHeaders", {}).get("x-amz-bucket-region") or "")[:CODE_SHOWN]
            named = f"in the region {right}" if right else "in another region"
            return StorageProblem(f"The bucket is {named}, not in {where.region}. Correct the region.", code=code)
        if code.startswith("5"):  # no code of the store's own: perhaps a web page
            words = "answered with an error, and not as an S3 store does. If this lasts, check the endpoint URL."
            return StorageProblem(f"{self._host()} {words}", code=code, lasting=False)
        if code in _PASSING:
            return StorageProblem(
                "The store is busy or has a problem of its own. The next run tries again.", code=code, lasting=False
            )
        text = _DENIED[self.doing] if code == "AccessDenied" else _CODES.get(code, "")
        if not text:
            logger.warning(
                "s3 answered with an unexpected code", extra={"code": code, "status": meta.get("HTTPStatusCode")}
            )
            return StorageProblem(f"The store refused with “{code}”.", code=code)
        return StorageProblem(
            text.format(
                key=where.access_key_id,
                bucket=where.bucket,
                prefix=where.prefix,
                file=self.file,
                endpoint=f" and in the endpoint {where.endpoint_url}" if where.endpoint_url else "",
            ),
            code=code,
            lasting=code != "PreconditionFailed",
        )

    def _role(self, code: str) -> StorageProblem:
        """Explain STS's codes: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html#API_AssumeRole_Errors."""
        where = self.location
        if code == "AccessDenied":
            text = (
                f"This server may not assume the role {where.role_arn}. Its trust policy must name this server's own identity and "
                f"the external id {where.external_id}."
            )
        elif code in {"InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException"}:
            text = "AWS does not accept this server's own credentials. Ask the operator."
        elif code == "RegionDisabledException":
            text = f"AWS STS is switched off in {where.region} for that account. Its administrator can switch it on."
        elif code == "ValidationError":
            text = f"{where.role_arn} is not the ARN of a role. It looks like arn:aws:iam::123456789012:role/engage-reader."
        else:
            text = f"AWS STS refused with “{code}” when the role was to be assumed."
        return StorageProblem(text, code=code, lasting=code not in _PASSING | {"Throttling"})

    def _host(self) -> str:
        return urlsplit(self.location.endpoint_url).netloc or f"s3.{self.location.region}.amazonaws.com"

    def _connection(self, error: BaseException) -> StorageProblem:
        host = self._host()
        if isinstance(error, SSLError):
            text = f"{host} does not show a certificate that this server trusts."
        elif isinstance(error, CredentialRetrievalError):
            text = "This server's own AWS credentials could not be fetched. Ask the operator."
        elif isinstance(error, EndpointConnectionError | ConnectTimeoutError):
            text = f"{host} cannot be reached from this server. Look for a typo in the endpoint URL, or for a firewall."
        elif isinstance(error, ReadTimeoutError):
            text = f"{host} did not answer within {READ_SECONDS} seconds."
        elif isinstance(error, IncompleteReadError | ResponseStreamingError | URLLib3Error | OSError):
            text = f"The connection to {host} broke while the file was being read. The next run tries again."
        else:
            text = f"{host} did not answer as an S3 store does. Look for a typo in the endpoint URL."
        return StorageProblem(text, code=type(error).__name__, lasting=False)
