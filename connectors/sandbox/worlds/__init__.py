"""The vendors' worlds: a module each."""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from connectors.sandbox.world import World

_MODULES = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
WORLDS: Mapping[str, World] = {module.WORLD.key: module.WORLD for module in _MODULES}
"""By the connector's key."""
OVER_HTTP = tuple(key for key in WORLDS if key != "smtp")
"""Those whose requests come to the sandbox's own port, below their key."""
