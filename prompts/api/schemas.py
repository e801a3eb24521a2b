"""What the runtime API takes and answers, as its OpenAPI document says it."""

from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from prompts.models import IMPRESSION, Interaction
from sync.traits import LARGEST_NUMBER, LONGEST_TEXT, LONGEST_USER_ID, MOST_TRAITS, NAME, wrong_user_id, wrong_value

LONGEST_WAIT = 10
"""Seconds."""
LONGEST_REPORTED = 10_000
"""Characters of a text in a report: what Apple signs has its certificates with it."""
TEXT = r"^[^\x00]*$"
"""No text holds a NUL: PostgreSQL cannot store one."""

_CONTROL = r"\x00-\x1f\x7f-\xa0\xad"


def _user_id(value: str) -> str:
    wrong = wrong_user_id(value)
    if wrong:
        raise ValueError(wrong)
    return value


def _scalar(value: Any) -> Any:
    return _fit(value, LONGEST_TEXT)


def _reported(value: Any) -> Any:
    return _fit(value, LONGEST_REPORTED)


def _fit(value: Any, longest: int) -> Any:
    wrong = wrong_value(value, longest=longest)
    if wrong:
        raise ValueError(wrong)
    return value


def _number(value: Any) -> Any:
    if isinstance(value, (bool, str)):
        raise ValueError("This must be a number.")  # noqa: TRY004 - pydantic makes a field's error of a ValueError
    return value


UserId = Annotated[
    str,
    AfterValidator(_user_id),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST_USER_ID,
            # No control characters, and no blanks around it; of other alphabets our own check knows more.
            "pattern": rf"^[^\s{_CONTROL}]([^{_CONTROL}]*[^\s{_CONTROL}])?$",
            "description": "The id by which your app knows the person.",
        }
    ),
]
Scalar = Annotated[Any, AfterValidator(_scalar)]


def _object_of_scalars(names: str, most: int, longest: int = LONGEST_TEXT) -> WithJsonSchema:
    """Return how a flat object is described; pydantic's own words leave it open what other names may hold."""
    scalar = {
        "anyOf": [
            {"type": "string", "maxLength": longest, "pattern": TEXT},
            {"type": "number", "minimum": -LARGEST_NUMBER, "maximum": LARGEST_NUMBER},
            {"type": "boolean"},
            {"type": "null"},
        ]
    }
    return WithJsonSchema(
        {
            "type": "object",
            "maxProperties": most,
            "propertyNames": {"type": "string", "pattern": names},
            "additionalProperties": scalar,
        }
    )


NAME_OF_A_VALUE = r"^[^\x00-\x1f]{1,80}$"
NAME_OF_A_TRAIT = f"^{NAME.pattern}$"
Values = Annotated[
    dict[Annotated[str, StringConstraints(pattern=NAME_OF_A_VALUE)], Scalar],
    Field(max_length=50),
    _object_of_scalars(NAME_OF_A_VALUE, 50),
]
Reported = Annotated[
    dict[Annotated[str, StringConstraints(pattern=NAME_OF_A_VALUE)], Annotated[Any, AfterValidator(_reported)]],
    Field(max_length=50),
    _object_of_scalars(NAME_OF_A_VALUE, 50, LONGEST_REPORTED),
]
Traits = Annotated[
    dict[Annotated[str, StringConstraints(pattern=NAME_OF_A_TRAIT)], Scalar],
    Field(max_length=MOST_TRAITS),
    _object_of_scalars(NAME_OF_A_TRAIT, MOST_TRAITS),
]
Seconds = Annotated[float, Field(ge=0, le=LONGEST_WAIT), BeforeValidator(_number)]
Whole = Annotated[int, Field(ge=1, le=2**31 - 1), BeforeValidator(_number)]
Key = Annotated[str, StringConstraints(max_length=200, pattern=TEXT)]
Token = Annotated[str, StringConstraints(max_length=4096, pattern=TEXT)]

IN_BODY = "Only where no header can be sent, as from a beacon."
InteractionName = Literal[(*Interaction.values, IMPRESSION)]  # type: ignore[valid-type]


class Strict(Schema):
    """A body in which a misspelt field is an error and not silence."""

    model_config = ConfigDict(extra="forbid")


class EventIn(Strict):
    """An impression, or an answer to a prompt."""

    event_id: UUID = Field(description="Chosen by the client. The same id again is the same event, and runs nothing.")
    prompt: str = Field(description="The prompt's key.", pattern=r"^[-a-zA-Z0-9_]{1,60}$")
    interaction: InteractionName
    user_id: UserId
    version: Whole | None = Field(None, description="The version that was shown, from `GET /prompts`.")
    inputs: Values = Field(default_factory=dict, description="What the person typed into the prompt: name to value.")
    context: Values = Field(default_factory=dict, description="What you want to see beside the event, e.g. the path.")
    wait: Seconds = Field(0, description="How long to wait for the outcome; when it takes longer: 202.")
    key: Key | None = Field(None, description=f"The API key. {IN_BODY}")
    identity: Token | None = Field(None, description=f"The signed identity. {IN_BODY}")


class ReportIn(Strict):
    """What came of an action that was handed to the client."""

    result: Literal["done", "failed", "cancelled"]
    detail: Reported = Field(default_factory=dict)
    key: Key | None = Field(None, description=f"The API key. {IN_BODY}")
    identity: Token | None = Field(None, description=f"The signed identity. {IN_BODY}")


class ExecutionOut(Schema):
    """How one action stands."""

    id: UUID
    state: str
    action: str = Field(description="Connector and action, e.g. `cleeng.apply_coupon`.")
    message: str | None = Field(None, description="What was done, or why not. Only for a secret key.")
    instruction: dict[str, Any] | None = Field(
        None, description='What the client is to do, e.g. `{"kind": "redirect", "url": …}`.'
    )


class EventOut(Schema):
    """How an event stands."""

    event_id: UUID
    reference: str = Field(description="Short; *Lookup* finds the event by it.")
    settled: bool = Field(description="Whether every action is at its end.")
    outcome: Literal["done", "follows", "not_possible", "nothing"]
    text: str = Field(description="The prompt's own words for this outcome.")
    url: str = Field(description="Where to ask again while it is not settled.")
    executions: list[ExecutionOut]


class Button(Schema):
    """A button of a prompt."""

    interaction: InteractionName
    label: str


class Input(Schema):
    """What a prompt asks for."""

    name: str
    label: str
    type: str
    required: bool = False
    choices: list[str] = Field(default_factory=list)


class Texts(Schema):
    """What a person reads after an answer."""

    done: str
    follows: str
    not_possible: str


class PromptOut(Schema):
    """A prompt to show."""

    key: str
    version: int
    type: Literal["popup", "notification", "banner"]
    title: str
    message: str
    buttons: list[Button]
    timeout_seconds: int | None = None
    inputs: list[Input]
    texts: Texts


class PromptsOut(Schema):
    """The prompts for a person and path, in the order in which to show them."""

    prompts: list[PromptOut]


class TraitsOut(Schema):
    """What is known of a subscriber now."""

    user_id: str
    traits: dict[str, Any]


class Error(Schema):
    """Why a request was refused."""

    code: str = Field(description="For programs, e.g. `unknown_prompt`.")
    message: str = Field(description="For the developer of the app.")
    fields: dict[str, str] | None = Field(None, description="Field to what is wrong with it.")


class ErrorOut(Schema):
    """Every error has this shape."""

    error: Error
