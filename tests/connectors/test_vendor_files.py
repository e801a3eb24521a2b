"""A vendor's file stays short enough to be read in one sitting: what repeats between two is a word of the vocabulary."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

VENDORS = Path(__file__).parents[2] / "connectors" / "vendors"
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
