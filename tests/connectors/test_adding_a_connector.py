"""The example of docs/adding-a-connector.md, run as it stands there."""

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from connectors.checks import declaration
from tests.connectors.contract import player as player  # noqa: PLC0414 - a fixture

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-connector.md"


def example() -> dict[str, Any]:
    """Run the page's code, and return what it defines."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    module = ModuleType("ruritania_mail")
    sys.modules[module.__name__] = module
    exec(compile("\n".join(blocks), str(PAGE), "exec"), vars(module))  # noqa: S102 - our own page
    return vars(module)


EXAMPLE = example()
TestTheExampleKeepsTheContract = EXAMPLE["TestAddToList"]


def test_the_example_lacks_nothing_but_its_logo() -> None:
    assert [problem.id for problem in declaration([EXAMPLE["RuritaniaMail"]])] == ["engage.E005"]
