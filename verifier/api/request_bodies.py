"""Read JSON request bodies strictly: unknown fields, other types and duplicate names are refused."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from verifier.core.encoding import strict_json
from verifier.core.encoding.strict_json import JsonError
from verifier.core.encoding.text import TextError, decode_text
from verifier.core.encoding.unknown_fields import explain_unknown_field


class RequestBody(BaseModel):
    """A JSON request body. It is closed: pydantic refuses unknown fields and converts no value."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class InvalidBodyError(ValueError):
    """The body does not have the required shape. The message is a sentence for the caller, without any value."""


_Body = TypeVar("_Body", bound=RequestBody)


def parse_body(model: type[_Body], body: bytes) -> _Body:
    """Parse the body as strict JSON of this shape, in UTF-8 or, with a byte order mark, UTF-16.

    The caller bounds its size. Raises InvalidBodyError.
    """
    try:
        text = decode_text(body)
    except TextError as error:
        raise _not_json(error) from error
    return validate_fields(model, decode_object(text))


def decode_object(text: str) -> dict[str, object]:
    """Decode the JSON object of a body. Raises InvalidBodyError."""
    try:
        return strict_json.decode_text(text)
    except JsonError as error:
        raise _not_json(error) from error


def _not_json(error: TextError | JsonError) -> InvalidBodyError:
    return InvalidBodyError(f"The body is not acceptable JSON: {error}.")


def validate_fields(model: type[_Body], fields: dict[str, object]) -> _Body:
    """Check the fields of a body against its shape. Raises InvalidBodyError."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise InvalidBodyError(_explain(error, list(model.model_fields))) from error


def _explain(error: ValidationError, known: list[str]) -> str:
    """Name the first wrong field and its fault, without its value.

    An unknown field comes first, because it may be a known one with a typing error, which is then missing.
    """
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return explain_unknown_field(name, known)
    if first["type"] == "missing":
        return f"Missing field '{name}'."
    message = first["msg"].removeprefix("Value error, ")
    return f"Invalid field '{name}': {message[:1].lower()}{message[1:]}."
