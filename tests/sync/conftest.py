"""An S3 server over real HTTP, and buckets in it."""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pytest_django import Settings

from engage.tenancy.models import App
from sync.models import Source
from tests.factories import SourceFactory

REGION: Final = "eu-west-1"


@pytest.fixture(scope="session")
def _moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_url(_moto: str, settings: Settings) -> str:
    """The S3 server's URL; the operator has listed its address."""
    settings.ENGAGE_PRIVATE_HOSTS = [_moto.removeprefix("http://")]
    return _moto


@dataclass
class TestBucket:
    """A bucket as its owner sees it."""

    __test__ = False
    name: str
    client: Any

    def put(self, key: str, content: str | bytes, *, compress: bool = False) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.client.put_object(Bucket=self.name, Key=key, Body=gzip.compress(data) if compress else data)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


@pytest.fixture
def bucket(s3_url: str) -> Iterator[TestBucket]:
    """An empty bucket."""
    client = boto3.client(
        "s3", endpoint_url=s3_url, region_name=REGION, aws_access_key_id="owner", aws_secret_access_key="owner"
    )
    client.create_bucket(Bucket="exports", CreateBucketConfiguration={"LocationConstraint": REGION})
    mine = TestBucket("exports", client)
    yield mine
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="exports"):
        for item in page.get("Contents", []):
            mine.remove(item["Key"])
    client.delete_bucket(Bucket="exports")


@pytest.fixture
def make_source(app: App, s3_url: str) -> Callable[..., Source]:
    """Return a function that makes a source which reads the bucket's prefix `cleeng/`."""

    def make(**fields: Any) -> Source:
        values: dict[str, Any] = {
            "app": app,
            "name": "Cleeng",
            "bucket": "exports",
            "prefix": "cleeng/",
            "region": REGION,
            "endpoint_url": s3_url,
            "access_key_id": "AKIAREADER",
            "id_column": "user_id",
            "columns": {"Customer ID": {"trait": "cleeng_customer_id"}},
            **fields,
        }
        source: Source = SourceFactory(**values)
        return source

    return make


@pytest.fixture
def source(make_source: Callable[..., Source], bucket: TestBucket) -> Source:
    """A source whose bucket is there and empty."""
    return make_source()
