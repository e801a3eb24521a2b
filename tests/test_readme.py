"""What the README and the configuration page name is there, and what is there is named."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from django.core.management import CommandError, get_commands, load_command_class

from connectors.management.commands.connectors import with_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()

COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line.strip()
]
ENGINE = (ROOT / "docs" / "engine.md").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
NAMED = r"(?:^|`)make ([a-z-]+)"
READS = r'(?:environ\.get|environment\.get|environ|strict_bool|word_list|days|required_secret|port|env\.\w+)[(\[]"([A-Z_0-9]+)"'
DOCUMENTED = set(re.findall(r"^\| `([A-Z_0-9]+)` \|", CONFIGURATION, re.MULTILINE))


def read_in(*files: str) -> set[str]:
    return {name for file in files for name in re.findall(READS, (ROOT / file).read_text())} - {
        "DJANGO_SETTINGS_MODULE"
    }


def test_the_first_screen_has_the_two_commands() -> None:
    assert "```sh\nmake demo\nmake test\n```" in "\n".join(README.splitlines()[:15])


@pytest.mark.parametrize("page", [README, ENGINE], ids=["README.md", "docs/engine.md"])
def test_the_make_targets_that_a_page_names_exist(page: str) -> None:
    assert set(re.findall(NAMED, page, re.MULTILINE)) <= TARGETS


def test_the_readme_names_every_make_target() -> None:
    assert set(re.findall(NAMED, README, re.MULTILINE)) >= TARGETS


@pytest.mark.parametrize("line", [line for line in COMMANDS if "manage.py" in line])
def test_a_command_of_the_readme_takes_what_it_is_given(line: str) -> None:
    name, *arguments = shlex.split(line)[2:]
    command = load_command_class(get_commands()[name], name)
    # argparse ends the process at an unknown option, a missing one, or one of the wrong type.
    command.create_parser("manage.py", name).parse_args(arguments)


def test_what_the_readme_starts_is_installed() -> None:
    programs = {shlex.split(line)[0] for line in COMMANDS if line.startswith(".venv/bin/")}
    modules = {words[2] for words in map(shlex.split, COMMANDS) if words[1:2] == ["-m"]}
    assert programs == {".venv/bin/python", ".venv/bin/granian", ".venv/bin/celery"}
    assert modules == {"connectors.sandbox"}
    for module in (*modules, "granian", "celery", "engage.wsgi"):
        assert importlib.util.find_spec(module) is not None


def test_every_variable_that_is_read_is_documented_and_the_other_way_round() -> None:
    read = read_in("engage/settings.py", "engage/demo/launcher.py", "engage/management/commands/seed_demo.py")
    assert read == DOCUMENTED


def test_nothing_else_reads_the_environment() -> None:
    wiring = {"engage/settings.py", "engage/demo/launcher.py", "engage/management/commands/seed_demo.py"}
    readers = {
        str(file.relative_to(ROOT))
        for room in ("engage", "connectors", "prompts", "sync")
        for file in (ROOT / room).rglob("*.py")
        if re.search(READS, file.read_text())
    }
    assert readers <= wiring


def test_variables_that_the_readme_exports_are_documented() -> None:
    exported = {name for line in COMMANDS if line.startswith("export ") for name in re.findall(r"([A-Z_]+)=", line)}
    assert exported
    assert exported <= DOCUMENTED


@pytest.mark.parametrize("page", sorted(set(re.findall(r"\]\((docs/[^)#]+)", README))))
def test_a_page_that_the_readme_links_to_exists(page: str) -> None:
    assert (ROOT / page).is_file()


def test_the_table_of_connectors_says_what_the_declarations_say() -> None:
    assert with_table(README) == README, "Write it anew: manage.py connectors --readme"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(CommandError, match="connectors"):
        with_table("# Engage")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_everything_is_pinned_with_hashes_and_no_index_is_named(name: str) -> None:
    text = (ROOT / name).read_text()
    pins = re.findall(r"^[a-z0-9._-]+==\S+ \\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^\S*==", text, re.MULTILINE)) > 30
    assert "://" not in text
    assert not re.search(r"^--(?!hash)|index-url|find-links|trusted-host", text, re.MULTILINE)
