"""A vendor's file stays short enough to be read in one sitting: what repeats between two is a word of the vocabulary."""

import ast
import inspect
import io
import tokenize
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VENDORS = ROOT / "connectors" / "vendors"
FILES = sorted(VENDORS.rglob("*.py"))
FEWER_THAN = 250
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def lines_of_code(source: str) -> int:
    """Count the lines that hold code: no comments, docstrings or blank lines."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    first = (node.body[0] for node in ast.walk(ast.parse(source)) if isinstance(node, documented) and node.body)
    docstrings = {
        line
        for one in first
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str)
        for line in range(one.lineno, (one.end_lineno or one.lineno) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    code = (range(one.start[0], one.end[0] + 1) for one in tokens if one.type not in NO_CODE)
    return len({line for lines in code for line in lines} - docstrings)


def test_what_counts() -> None:
    source = (
        '"""Doc."""\n\n# comment\nx = """a\nb"""\n\n\ndef f():\n    """Doc.\n\n    More.\n    """\n    return x  # c\n'
    )
    assert lines_of_code(source) == 4


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(VENDORS)))
def test_a_vendors_file_is_short(file: Path) -> None:
    assert lines_of_code(file.read_text()) < FEWER_THAN


def classes() -> list[type]:
    """Return the classes that the vendors' files declare."""
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in FILES]
    found = ((name, one) for name in names for one in vars(import_module(name)).values())
    return [one for name, one in found if isinstance(one, type) and one.__module__ == name]


def vocabulary(declared: type) -> list[str]:
    """Return the members that the words of the vocabulary give a class, in their order: what it says, its form, what it does.

    What it says begins with what all say; of what it does, the nearest word says how it is read.
    """
    words = [one for one in declared.__mro__ if one.__module__.startswith("connectors.") and not is_a_vendors(one)]
    said = [name for word in reversed(words) for name in [*inspect.get_annotations(word), *vars(word)]]
    done = [name for word in words for name, member in vars(word).items() if is_done(member)]
    forms = [name for name in ("Settings", "Inputs") if name in said]
    return [*(name for name in dict.fromkeys(said) if name not in (*forms, *done)), *forms, *dict.fromkeys(done)]


def is_a_vendors(declared: type) -> bool:
    return declared.__module__.startswith("connectors.vendors.")


def is_done(member: object) -> bool:
    return inspect.isroutine(member) or isinstance(member, property)


@pytest.mark.parametrize("declared", classes(), ids=lambda one: f"{one.__module__.split('.', 2)[2]}.{one.__name__}")
def test_members_stand_in_the_order_of_the_vocabulary(declared: type) -> None:
    """Who has read one vendor knows where to look in all others."""
    order = vocabulary(declared)
    members = [name for name in vars(declared) if name in order and not name.startswith("_")]
    assert members == sorted(members, key=order.index)
