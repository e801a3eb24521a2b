"""The S3 door: against moto's server over HTTP, and against AWS's documented error bodies where moto is kinder."""

import os
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from pytest_django import Settings
from pytest_httpserver import HTTPServer
from werkzeug import Response

from connectors.http import LARGEST_ANSWER
from sync import s3
from sync.models import Access
from sync.s3 import CHUNK, STS, Bucket
from sync.storage import Location, StorageProblem
from tests.sync.conftest import REGION, TestBucket


@pytest.fixture
def location(s3_url: str) -> Location:
    return Location("exports", "cleeng/", REGION, s3_url, "AKIAREADER", "secret-of-the-reader")


def read(location: Location) -> bytes:
    store = Bucket(location)
    return b"".join(store.open(store.files()[-1]))


def test_files_under_the_prefix_are_listed_oldest_first_without_markers(bucket: TestBucket, location: Location) -> None:
    for key in ("cleeng/b.csv", "cleeng/a.csv", "cleeng/_SUCCESS", "cleeng/", "other/c.csv"):
        bucket.put(key, "x")
    files = Bucket(location).files()
    assert [file.key for file in files] == [file.key for file in sorted(files, key=lambda f: (f.modified_at, f.key))]
    assert {file.key for file in files} == {"cleeng/a.csv", "cleeng/b.csv"}
    assert files[0].size == 1
    assert '"' not in files[0].etag


def test_a_listing_of_several_pages_is_read_to_its_end(
    bucket: TestBucket, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "4")  # of a page, where the caller names no number
    for number in range(11):
        bucket.put(f"cleeng/{number:04}.csv", "x")
    first = bucket.client.list_objects_v2(Bucket="exports")
    assert (len(first["Contents"]), first["IsTruncated"]) == (4, True)
    assert len(Bucket(location).files()) == 11


@pytest.mark.parametrize("content", [b"", b"a", b"id\n1\n", os.urandom(3 * CHUNK + 7)])
def test_a_plain_file_arrives_as_it_is(bucket: TestBucket, location: Location, content: bytes) -> None:
    bucket.put("cleeng/a", content)
    assert read(location) == content


@pytest.mark.parametrize("content", [b"", b"id\n1\n", os.urandom(CHUNK) * 3, b"user_id,email\n" * 100_000])
def test_gzip_is_told_by_its_content_and_unpacked(bucket: TestBucket, location: Location, content: bytes) -> None:
    bucket.put("cleeng/a.csv", content, compress=True)
    assert read(location) == content


def test_a_file_that_was_replaced_after_it_was_listed_is_not_read(bucket: TestBucket, location: Location) -> None:
    bucket.put("cleeng/a.csv", "old")
    store = Bucket(location)
    (file,) = store.files()
    bucket.put("cleeng/a.csv", "new")
    with pytest.raises(StorageProblem, match="was replaced") as problem:
        store.open(file)
    assert not problem.value.lasting


def test_a_file_that_a_store_without_conditions_changed_meanwhile_is_left_for_the_next_run(
    httpserver: HTTPServer, aws: Callable[[int, str, dict[str, str]], Location]
) -> None:
    listing = (
        "<ListBucketResult><Name>exports</Name><Contents><Key>cleeng/a.csv</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        "<ETag>&quot;e&quot;</ETag><Size>3</Size></Contents></ListBucketResult>"
    )
    store = Bucket(aws(200, listing, {}))
    for etag, body in (("f", "new"), ("e", "longer")):
        httpserver.expect_oneshot_request("/exports/cleeng/a.csv").respond_with_data(
            body, headers={"ETag": f'"{etag}"'}
        )
        with pytest.raises(StorageProblem, match="written to after it was listed") as problem:
            store.open(store.files()[0])
        assert not problem.value.lasting


def test_a_bucket_that_is_not_there_is_said(s3_url: str) -> None:
    with pytest.raises(StorageProblem, match="There is no bucket nowhere"):
        Bucket(Location("nowhere", "", REGION, s3_url, "AKIAREADER", "secret")).files()


def test_a_private_address_that_the_operator_did_not_list_is_refused(location: Location, settings: Settings) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = []
    with pytest.raises(StorageProblem, match="private network"):
        Bucket(location).files()


@pytest.mark.parametrize("url", ["http://169.254.169.254", "http://localhost:1", "http://[::1]:9", "http://10.0.0.1"])
def test_metadata_and_local_addresses_are_refused(url: str) -> None:
    with pytest.raises(StorageProblem, match="private network"):
        Bucket(Location("exports", "", REGION, url, "AKIAREADER", "secret")).files()


def test_proxies_endpoints_and_keys_of_the_environment_play_no_part(
    bucket: TestBucket, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("cleeng/a.csv", "x")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-instance")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-instance")
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    assert read(location) == b"x"
    with pytest.raises(StorageProblem, match="No key is stored"):
        Bucket(Location("exports", "", REGION, location.endpoint_url, "", ""))


def test_a_region_or_endpoint_that_makes_no_host_is_refused() -> None:
    with pytest.raises(StorageProblem, match="look for a typo"):
        Bucket(Location("exports", "", "eu west/..", "", "AKIAREADER", "secret"))
    with pytest.raises(StorageProblem, match="look for a typo"):
        Bucket(Location("exports", "", REGION, "not a url", "AKIAREADER", "secret"))


def test_an_endpoint_where_nobody_listens_is_said(settings: Settings) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = ["127.0.0.1:1"]
    with pytest.raises(StorageProblem, match="cannot be reached") as problem:
        Bucket(Location("exports", "", REGION, "http://127.0.0.1:1", "AKIAREADER", "secret")).files()
    assert not problem.value.lasting


# --- what AWS answers, from https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html -----------------------------


def error_body(code: str, extra: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{code}</Code><Message>words of the vendor</Message>{extra}<RequestId>4442587FB7D0A2F9</RequestId></Error>"
    )


@pytest.fixture
def aws(httpserver: HTTPServer, settings: Settings) -> Callable[[int, str, dict[str, str]], Location]:
    """Return a function that makes a server give this answer to a listing, and says where it is."""

    def answer(status: int, body: str, headers: dict[str, str]) -> Location:
        settings.ENGAGE_PRIVATE_HOSTS = [f"{httpserver.host}:{httpserver.port}"]
        httpserver.expect_request("/exports", method="GET").respond_with_handler(
            lambda _: Response(body, status=status, headers=headers, content_type="application/xml")
        )
        return Location("exports", "cleeng/", "us-east-1", httpserver.url_for(""), "AKIAREADER", "secret-of-the-reader")

    return answer


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (
            403,
            error_body("InvalidAccessKeyId", "<AWSAccessKeyId>AKIAREADER</AWSAccessKeyId>"),
            {},
            "does not know the access key id AKIAREADER",
        ),
        (
            403,
            error_body("SignatureDoesNotMatch", "<StringToSign>AWS4</StringToSign>"),
            {},
            "secret access key is not the one of",
        ),
        (
            400,
            error_body("AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"),
            {},
            "in the region eu-west-1, not in us-east-1",
        ),
        (
            301,
            error_body("PermanentRedirect", "<Endpoint>exports.s3.eu-west-1.amazonaws.com</Endpoint>"),
            {"x-amz-bucket-region": "eu-west-1"},
            "in the region eu-west-1, not in us-east-1",
        ),
        (301, "", {"x-amz-bucket-region": "ap-south-1"}, "in the region ap-south-1"),
        (400, error_body("IllegalLocationConstraintException"), {}, "in another region, not in us-east-1"),
        (404, error_body("NoSuchBucket", "<BucketName>exports</BucketName>"), {}, "There is no bucket exports"),
        (403, error_body("AccessDenied"), {}, "may not list bucket exports under “cleeng/”"),
        (403, error_body("RequestTimeTooSkewed"), {}, "clock is wrong"),
        (400, error_body("ExpiredToken"), {}, "has expired"),
        (403, error_body("AllAccessDisabled"), {}, "disabled all access"),
        (418, error_body("BrandNewCode"), {}, "refused with “BrandNewCode”"),
        (400, error_body("{key:>3000000000}"), {}, "refused with “{key:>3000000000}”"),
        (400, error_body("{"), {}, "refused with “{”"),
        (400, error_body("x" * 5000), {}, f"refused with “{'x' * 60}”"),
    ],
)
def test_refusals_are_told_apart(
    aws: Callable[[int, str, dict[str, str]], Location], status: int, body: str, headers: dict[str, str], said: str
) -> None:
    with pytest.raises(StorageProblem, match=said) as problem:
        Bucket(aws(status, body, headers)).files()
    assert problem.value.lasting
    assert "secret-of-the-reader" not in str(problem.value)


def test_a_busy_store_is_no_lasting_problem(aws: Callable[[int, str, dict[str, str]], Location]) -> None:
    with pytest.raises(StorageProblem, match="next run tries again") as problem:
        Bucket(aws(503, error_body("SlowDown"), {})).files()
    assert not problem.value.lasting


def test_an_endpoint_that_is_a_web_page_is_said(aws: Callable[[int, str, dict[str, str]], Location]) -> None:
    with pytest.raises(StorageProblem, match="not as an S3 store does"):
        Bucket(aws(200, "<html><body>Welcome</body>", {})).files()


@pytest.mark.parametrize("status", [200, 403])
def test_no_more_is_read_of_an_answer_than_it_may_have(
    aws: Callable[[int, str, dict[str, str]], Location], status: int
) -> None:
    with pytest.raises(StorageProblem, match="more than 5 MB") as problem:
        Bucket(aws(status, " " * (LARGEST_ANSWER + 1), {})).files()
    assert not problem.value.lasting


def test_nor_of_a_refusal_in_place_of_a_file(
    httpserver: HTTPServer, aws: Callable[[int, str, dict[str, str]], Location]
) -> None:
    store = Bucket(aws(200, LISTING, {}))
    httpserver.expect_request("/exports/cleeng/a.csv").respond_with_data(" " * (LARGEST_ANSWER + 1), status=403)
    with pytest.raises(StorageProblem, match="more than 5 MB"):
        store.open(store.files()[0])


def test_a_bucket_with_too_many_files_is_refused(
    bucket: TestBucket, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")  # of a page
    monkeypatch.setattr(s3, "MOST_FILES", 4)
    for number in range(4):
        bucket.put(f"cleeng/{number}.csv", "x")
    assert len(Bucket(location).files()) == 4
    bucket.put("cleeng/_SUCCESS", "x")
    with pytest.raises(StorageProblem, match="more than 4 files under “cleeng/”") as problem:
        Bucket(location).files()
    assert problem.value.lasting


def test_a_key_that_may_list_but_not_read_is_told_apart(
    httpserver: HTTPServer, aws: Callable[[int, str, dict[str, str]], Location]
) -> None:
    listing = (
        "<ListBucketResult><Name>exports</Name><Contents><Key>cleeng/a.csv</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        "<ETag>&quot;e&quot;</ETag><Size>3</Size></Contents></ListBucketResult>"
    )
    store = Bucket(aws(200, listing, {}))
    httpserver.expect_request("/exports/cleeng/a.csv").respond_with_data(error_body("AccessDenied"), status=403)
    with pytest.raises(StorageProblem, match=r"not read cleeng/a\.csv\. Allow it s3:GetObject"):
        store.open(store.files()[0])


def test_a_connection_that_breaks_in_mid_file_is_no_lasting_problem(
    httpserver: HTTPServer, aws: Callable[[int, str, dict[str, str]], Location]
) -> None:
    listing = (
        "<ListBucketResult><Name>exports</Name><Contents><Key>cleeng/a.csv</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        "<ETag>&quot;e&quot;</ETag><Size>3000</Size></Contents></ListBucketResult>"
    )
    store = Bucket(aws(200, listing, {}))

    def broken(_: object) -> Response:
        return Response(iter([b"short"]), headers={"Content-Length": "3000"})

    httpserver.expect_request("/exports/cleeng/a.csv").respond_with_handler(broken)
    with pytest.raises(StorageProblem, match="broke while the file was being read") as problem:
        b"".join(store.open(store.files()[0]))
    assert not problem.value.lasting


# --- as whom ----------------------------------------------------------------------------------------------------------------

ROLE = "arn:aws:iam::123456789012:role/engage-reader"
OWN_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "AKIAOWN", "AWS_SECRET_ACCESS_KEY": "own", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture
def own_credentials(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """This server has AWS credentials of its own, and the operator allows their use."""
    settings.ENGAGE_S3_OWN_CREDENTIALS = True
    for name, value in OWN_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def test_only_files_whose_name_fits_the_pattern_are_meant(bucket: TestBucket, location: Location) -> None:
    for key in ("cleeng/daily-1.csv", "cleeng/daily-2.csv.gz", "cleeng/weekly.csv", "cleeng/Daily-3.csv"):
        bucket.put(key, "x")
    files = Bucket(replace(location, pattern="daily-*")).files()
    assert {file.key for file in files} == {"cleeng/daily-1.csv", "cleeng/daily-2.csv.gz"}


@pytest.mark.parametrize("access", [Access.DEFAULT, Access.ROLE])
def test_own_credentials_are_the_operators_to_allow(
    location: Location, settings: Settings, own_credentials: None, access: Access
) -> None:
    settings.ENGAGE_S3_OWN_CREDENTIALS = False
    with pytest.raises(StorageProblem, match="ENGAGE_S3_OWN_CREDENTIALS"):
        Bucket(replace(location, access=access, role_arn=ROLE)).files()


def test_own_credentials_sign_when_the_source_asks_for_them(
    httpserver: HTTPServer, settings: Settings, own_credentials: None
) -> None:
    settings.ENGAGE_PRIVATE_HOSTS = [f"{httpserver.host}:{httpserver.port}"]
    httpserver.expect_request("/exports").respond_with_data(EMPTY_LIST, content_type="application/xml")
    location = Location("exports", "", REGION, httpserver.url_for(""), "", "", access=Access.DEFAULT)
    assert Bucket(location).files() == []
    assert "Credential=AKIAOWN/" in httpserver.log[0][0].headers["Authorization"]


def test_a_server_without_credentials_says_so(
    location: Location, own_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StorageProblem, match="no AWS credentials of its own"):
        Bucket(replace(location, access=Access.DEFAULT)).files()


def test_a_role_is_assumed_and_its_files_are_read(
    bucket: TestBucket, location: Location, settings: Settings, own_credentials: None
) -> None:
    settings.ENGAGE_VENDOR_URLS = {STS: location.endpoint_url}
    bucket.put("cleeng/a.csv", "id\n1\n")
    as_role = replace(
        location, access_key_id="", secret_access_key="", access=Access.ROLE, role_arn=ROLE, external_id="engage-demo"
    )
    assert read(as_role) == b"id\n1\n"


def test_the_role_is_asked_for_with_the_external_id_and_its_key_signs(
    httpserver: HTTPServer, settings: Settings, own_credentials: None
) -> None:
    settings.ENGAGE_VENDOR_URLS = {STS: httpserver.url_for("/sts")}
    httpserver.expect_request("/sts").respond_with_data(ASSUMED, content_type="text/xml")
    httpserver.expect_request("/exports").respond_with_data(EMPTY_LIST, content_type="application/xml")
    location = Location(
        "exports", "", REGION, httpserver.url_for(""), "", "", access=Access.ROLE, role_arn=ROLE, external_id="engage-x"
    )
    assert Bucket(location).files() == []
    asked, listed = (entry[0] for entry in httpserver.log)
    form = dict(parse_qsl(asked.get_data(as_text=True)))
    assert (form["Action"], form["RoleArn"], form["ExternalId"]) == ("AssumeRole", ROLE, "engage-x")
    assert "Credential=AKIAOWN/" in asked.headers["Authorization"]
    assert "Credential=ASIAROLE/" in listed.headers["Authorization"]
    assert listed.headers["X-Amz-Security-Token"] == "session-token"


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AccessDenied", "trust policy must name .* external id engage-x"),
        (403, "InvalidClientTokenId", "does not accept this server's own credentials"),
        (403, "RegionDisabledException", "switched off in eu-west-1"),
        (400, "ValidationError", "is not the ARN of a role"),
        (400, "Odd", "refused with “Odd”"),
    ],
)
def test_what_sts_refuses_is_said(
    httpserver: HTTPServer, settings: Settings, own_credentials: None, status: int, code: str, said: str
) -> None:
    settings.ENGAGE_VENDOR_URLS = {STS: httpserver.url_for("/sts")}
    body = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
    httpserver.expect_request("/sts").respond_with_data(body, status=status, content_type="text/xml")
    location = Location(
        "exports", "", REGION, httpserver.url_for(""), "", "", access=Access.ROLE, role_arn=ROLE, external_id="engage-x"
    )
    with pytest.raises(StorageProblem, match=said):
        Bucket(location).files()


LISTING = (
    "<ListBucketResult><Name>exports</Name><Contents><Key>cleeng/a.csv</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<ETag>&quot;e&quot;</ETag><Size>3</Size></Contents></ListBucketResult>"
)
EMPTY_LIST = (
    "<ListBucketResult><Name>exports</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
)
# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
ASSUMED = """
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role</SecretAccessKey>
<SessionToken>session-token</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>
"""
