"""How often something may happen, and who counts as one. Counted in the cache: for each process, or with a shared cache for
all together.
"""

import ipaddress
import logging
import time

from django.core.cache import cache
from django.http import HttpRequest

logger = logging.getLogger(__name__)

HOUR = 3600
IPV6_SITE = 64
"""Bits of an IPv6 address that name the network of one customer, who chooses the others freely."""


def one_address(request: HttpRequest) -> str | None:
    """Return the address by which a visitor is counted: of IPv6 that of their /64 network. None where there is none."""
    try:
        address = ipaddress.ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_SITE), strict=False).network_address)


def within(what: str, limit: int, seconds: int) -> bool:
    """Count `what` once more in this window of time; whether it is within the limit. A cache that is away refuses nobody."""
    try:
        return _counted(f"rate:{what}:{int(time.time() // seconds)}", seconds) <= limit
    except ValueError:  # it has just expired
        return True
    except Exception:
        logger.exception("Requests could not be counted.")
        return True


def _counted(key: str, seconds: int) -> int:
    """Count one more, and return how many there are."""
    try:
        return cache.incr(key)
    except ValueError:  # the first of its window
        return 1 if cache.add(key, 1, timeout=seconds) else cache.incr(key)
