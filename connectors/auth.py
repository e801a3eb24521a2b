"""Ways of signing a request, shared by connectors: the only places where credentials touch one."""

import requests
from requests.auth import AuthBase


class HeaderKey(AuthBase):
    """Puts a key into one header, with an optional prefix ("Bearer ", "Token token=")."""

    def __init__(self, header: str, key: str, prefix: str = "") -> None:
        self.header, self.value = header, prefix + key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request, signed."""
        request.headers[self.header] = self.value
        return request


class NoAuth(AuthBase):
    """For connectors without credentials: without it, requests would look for some in `~/.netrc`."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request as it is."""
        return request
