"""The sandbox, misbehaving by a plan: `python -m chaos.vendor PORT SEED FAULTS`. It counts in its own memory what happened.

The plan follows from the seed, the address and how often that was asked, so a run can be repeated. An address answers
properly after its first few requests (FAULTS): what keeps failing for ever is another drill.
"""

import random
import sys
import threading
from collections import Counter
from dataclasses import replace

from connectors.sandbox.http import Fault, Request
from connectors.sandbox.server import Sandbox
from connectors.sandbox.store import Store

SHARE = 0.3
"""Of the requests that go wrong."""
PAGE = "<html><body><h1>Bad Gateway</h1></body></html>"
TROUBLE = Fault(status=500, body={"message": "internal error"})
GATEWAY = Fault(status=502, raw=PAGE, content_type="text/html")
FAULTS: tuple[tuple[int, Fault], ...] = (
    (4, TROUBLE),
    (3, replace(TROUBLE, act=True)),
    (1, Fault(status=429, body={"message": "slow down"}, retry_after="1")),
    (4, Fault(then="reset")),
    (3, Fault(then="reset", act=True)),
    (3, Fault(then="hang", act=True, hang=5.0)),
    (3, Fault(then="trickle", pause=0.2)),
    (2, GATEWAY),
    (2, replace(GATEWAY, act=True)),
    (1, Fault(status=200, raw=PAGE, content_type="text/html", act=True)),
)
"""How often each comes, compared with the others. `act`: it happened, and the answer does not say so."""


class Unruly(Sandbox):
    """A sandbox in which requests go wrong by themselves: of those to one address the first `faults` at most."""

    def __init__(self, seed: int, faults: int, port: int) -> None:
        super().__init__(Store(), port=port)
        self.seed, self.faults = seed, faults
        self._asked: Counter[str] = Counter()
        self._counting = threading.Lock()

    def fault_for(self, vendor: str, request: Request) -> Fault | None:
        """Return how this request goes wrong, if it does."""
        address = f"{vendor} {request.method} {request.path}"
        with self._counting:
            self._asked[address] += 1
            count = self._asked[address]
        plan = random.Random(f"{self.seed} {address} {count}")  # noqa: S311 - to be repeated, not to keep a secret
        if count > self.faults or plan.random() > SHARE:
            return None
        weights, kinds = zip(*FAULTS, strict=True)
        chosen: Fault = plan.choices(kinds, weights)[0]
        return chosen


if __name__ == "__main__":
    port, seed, faults = map(int, sys.argv[1:])
    Unruly(seed, faults, port).serve_forever()
