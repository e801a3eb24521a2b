"""Website actions: JavaScript of an administrator's own, which the person's browser runs. One connection is one action.

The script is published as a file under its hash (`connectors.scripts`), and is never part of a page or an answer: the client
gets its address, its integrity and its arguments. Of what is known of the person, only the traits named here leave.
"""

import re

from django import forms

from connectors import scripts
from connectors.base import Action, Category, Connector, HandedOver, Json, Needs, ProbeLine, Replay, Support, Values
from connectors.bodies import without_empty
from connectors.failures import Rejected
from connectors.http import Api
from connectors.inputs import OPTIONAL, InputsField, form_of, lines, read_inputs
from connectors.placeholders import BadTemplate

LONGEST_SCRIPT = 100_000
"""Characters."""
_EXPORTS = re.compile(r"\bexport\s+default\b|\bas\s+default\b")
_TRAIT = re.compile(r"(?P<name>[a-z][a-z0-9_]{0,79})\s*(?:\[(?P<mark>[^\[\]]*)\])?")
EXAMPLE = """export default async function (args, context) {
  const { plan } = args.inputs;
  window.shop.cart.add(plan, { greeting: `Hello ${args.traits.first_name ?? "you"}` });
  return `${plan} is in the cart`;
}"""


def read_traits(text: str) -> Needs:
    """Return the traits of lines like `first_name [optional]`.

    Raises:
        BadTemplate: a line cannot be read; says which.

    """
    needed: dict[str, None] = {}
    welcome: dict[str, None] = {}
    for number, line in lines(text):
        found = _TRAIT.fullmatch(line)
        if not found:
            raise BadTemplate(f"Line {number}: write the name of one trait, e.g. first_name or first_name [optional].")
        name, mark = found["name"], (found["mark"] or "").strip().lower()
        if mark and mark != OPTIONAL:
            raise BadTemplate(f"Line {number}: “[{mark}]” means nothing. There is [{OPTIONAL}].")
        if name in needed or name in welcome:
            raise BadTemplate(f"Line {number}: “{name}” stands here twice.")
        (welcome if mark else needed)[name] = None
    return Needs(tuple((name,) for name in needed), tuple(welcome))


class TraitsField(forms.CharField):
    """The text that names the traits which a script is given; `read_traits()` reads it."""

    def __init__(self) -> None:
        super().__init__(
            required=False,
            label="Traits",
            widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
            help_text="What the script is told of the subscriber, one trait a line, e.g. first_name. The browser sees it, so "
            "name only what it needs. Who has none is skipped, unless you add [optional].",
        )

    def validate(self, value: str) -> None:
        """Refuse what names no traits."""
        super().validate(value)
        try:
            read_traits(value)
        except BadTemplate as wrong:
            raise forms.ValidationError(str(wrong)) from None


class ScriptForm(forms.Form):
    """What is run, and what it is told."""

    name = forms.CharField(
        max_length=60, label="Name", help_text="As it stands in a prompt's Actions panel, e.g. “Add to cart”."
    )
    description = forms.CharField(
        max_length=200, required=False, label="Description", help_text="One sentence for whoever adds it to a prompt."
    )
    script = forms.CharField(
        max_length=LONGEST_SCRIPT,
        strip=False,
        label="JavaScript",
        widget=forms.Textarea(attrs={"rows": 16, "spellcheck": "false", "autocapitalize": "off", "wrap": "off"}),
        help_text="A module whose default export is a function (args, context). What it returns is reported as done, what it "
        "throws as failed. Everybody can read it: never write a secret into it. An example is under Set-up.",
    )
    inputs = InputsField()
    traits = TraitsField()

    def clean_script(self) -> str:
        """A module with a default export. Browsers send line ends of their own; the file has one kind."""
        text = str(self.cleaned_data["script"]).replace("\r\n", "\n").replace("\r", "\n")
        if text.lstrip().lower().startswith("<script"):
            raise forms.ValidationError("Write the JavaScript alone, without <script> and </script>.")
        if not _EXPORTS.search(text):
            raise forms.ValidationError(
                "Nothing is exported. Begin with: export default async function (args, context) {"
            )
        return text


class RunScript(Action):
    """Have the browser run the script of a connection; each connection's own subclass says what it needs."""

    by_client = "On web pages engage.js runs the script; another app cannot."

    def perform(self, api: Api, user: Json, inputs: Values) -> HandedOver:
        """Hand over where the script is, what it must be, and what it is told."""
        if api.account is None:
            raise Rejected("Only a website action that is saved can be handed over.")
        sha256 = scripts.digest(api.settings["script"])
        told = without_empty(inputs)
        instruction = {
            "kind": "script",
            "url": scripts.url(api.account.app, sha256),
            "integrity": scripts.integrity(sha256),
            "args": {"inputs": told, "traits": user},
        }
        return HandedOver(instruction, f"The browser runs “{self.label}”", wants_report=True)


class WebsiteActions(Connector):
    """Scripts of an administrator's own."""

    key, label, category = "website", "Website action", Category.BUILT_IN
    description = "Runs JavaScript of your own on your website."
    aliases = ("javascript", "script", "browser", "custom", "page")
    support = Support.CONTRACT
    several = True
    calls_out = False
    example = EXAMPLE
    setup_steps = (
        "Let your website load engage.js, and its Content-Security-Policy name this server in script-src and connect-src.",
        "Write a module with a default export, as in the example. It is run once for each answer.",
        "args.inputs holds the inputs and args.traits the traits that are named here. Nothing else leaves this server.",
        "context holds prompt, interaction, event_id, execution, and signal, which is aborted when the 30 seconds are over.",
        "A text that the function returns stands in Live, and so does the message of an error that it throws.",
        "Save it and look at Preview: it shows exactly what the browser of a test subscriber would be told.",
        "Switch it on: the file is published. It then stands in every prompt's Actions panel.",
    )

    class Settings(ScriptForm):
        """What is run."""

    def environment(self, settings: Values) -> str:
        """Where it runs."""
        return "In the browser"

    def script(self, settings: Values) -> str:
        """Return what was written."""
        return str(settings.get("script") or "")

    def actions_of(self, settings: Values) -> tuple[type[Action], ...]:
        """Return the one action that the settings describe."""
        if not settings:
            return ()
        inputs = read_inputs(settings.get("inputs") or "")
        declared = {
            "key": "run",
            "label": settings["name"],
            "description": settings.get("description") or self.description,
            "needs": read_traits(settings.get("traits") or ""),
            "replay": Replay.NEVER,
            "replay_proof": "A browser is told once. Whether a script that never reported did its work, nobody knows.",
            "check_at": "Look on your website whether it happened.",
            "from_browser": frozenset(one.name for one in inputs if one.from_person),
            "Inputs": form_of(inputs),
        }
        return (type("RunScript", (RunScript,), declared),)

    def probe(self, api: Api) -> list[ProbeLine]:
        """Nobody is called."""
        return [ProbeLine(None, "Whether a script works is seen where it runs. Try it from a prompt, on your website.")]
