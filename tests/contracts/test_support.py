"""What the console and the README say of a connector's support is what these tests do."""

from connectors.base import Support
from connectors.registry import all_connectors
from tests.contracts import test_openapi

BY_OTHER_MEANS = {
    "api",  # an administrator's own endpoint
    "smtp",  # its contract is RFC 5321; the tests talk to a server by other people
    "website",  # an administrator's own script
    "builtin",  # there is no vendor
    "braintree",  # its official SDK builds every request and reads every answer
    "mparticle",  # test_mparticle.py: batches, and the test of a connection
    "mixpanel",  # test_mixpanel.py: batches and profiles
    "apple",  # test_apple.py: its own library sends the same, and the payloads for the app
    "google_play",  # test_google.py: requests, and the payloads for the app
    "shopify",  # test_shopify.py: every GraphQL document, with its variables
}


def test_checked_against_the_vendors_contract_says_no_more_than_is_so() -> None:
    said = {declared.key for declared in all_connectors() if declared.support is Support.CONTRACT}
    assert said == set(test_openapi.FILES) | BY_OTHER_MEANS
