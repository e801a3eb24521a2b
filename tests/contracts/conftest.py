"""Where the vendors' own descriptions are: a folder named by ENGAGE_CONTRACTS. They are not part of this project."""

import os
from pathlib import Path

import pytest

WHERE_FROM = {
    "salesforce-marketing-cloud.json": "the Swagger description in the GitHub repository salesforce-marketingcloud/sfmc-swagger",
    "salesforce-marketing-cloud-soap.wsdl": "the WSDL of Marketing Cloud's SOAP API, https://webservice.exacttarget.com/etframework.wsdl",
    "recurly.yaml": "the OpenAPI description in the GitHub repository recurly/recurly-client-python",
    "stripe.json": "the OpenAPI description (spec3) in the GitHub repository stripe/openapi",
    "mixpanel.yaml": "the OpenAPI description of ingestion in the GitHub repository mixpanel/docs",
    "mparticle.yaml": "the OpenAPI description of events in the GitHub repository mParticle/docs",
    "google-androidpublisher-v3.json": "the discovery document in the PyPI package google-api-python-client",
    "google-fcm-v1.json": "the discovery document in the PyPI package google-api-python-client",
    "openiap.graphql": "the schema of the GitHub repository hyodotdev/openiap",
    "shopify.json": "the Storefront API's introspection in the npm package @shopify/hydrogen-react",
    "shopify-admin.json.gz": "the Admin API's introspection 2026-07 in the npm package @shopify/dev-mcp",
    "twilio-sms.json": "twilio_api_v2010.json in the GitHub repository twilio/twilio-oai",
}


def description(name: str) -> Path:
    """Return the file with this name, or skip the test and say where to get it."""
    folder = os.environ.get("ENGAGE_CONTRACTS")
    if folder is None:
        pytest.skip(f"ENGAGE_CONTRACTS names no folder; {name} is {WHERE_FROM[name]}")
    file = Path(folder) / name
    if not file.is_file():
        pytest.skip(f"{name} is not in {folder}; it is {WHERE_FROM[name]}")
    return file
