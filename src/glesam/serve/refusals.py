"""How the server says no: each error becomes a status and `{"error": "one line"}`, the same line as on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from glesam.common.messages import hint
from glesam.common.stopping import StoppedError
from glesam.errors import ConfigError, GlesamError, ImageError, ModelError, PromptError

UNPROCESSABLE, INTERNAL = 422, 500
_CLIENT_ERRORS = (ImageError, PromptError, ConfigError, ModelError)


class RefusalError(Exception):
    """A request that is not answered as it wished.

    Args:
        status: HTTP status.
        text: what was expected, what came, and the cure, in one line.
        headers: more headers of the answer.
    """

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        # What the client wrote may hold half of a surrogate pair, which no answer can be encoded with.
        self.text = text.encode("utf-8", "replace").decode("utf-8")
        self.status, self.headers = status, dict(headers or {})
        super().__init__(self.text)

    def response(self) -> JSONResponse:
        """The answer that says it."""
        return JSONResponse({"error": self.text}, self.status, self.headers)


def overloaded(text: str, seconds: float = 1.0) -> RefusalError:
    """A 503 that says when to come again, in whole seconds from 1 to 60."""
    return RefusalError(503, text, {"Retry-After": str(round(min(max(seconds, 1.0), 60.0)))})


def install(app: FastAPI) -> None:
    """Answer every kind of error with the one form."""

    async def refused(_: Request, error: Any) -> JSONResponse:
        return _refusal(error).response()

    for kind in (RefusalError, GlesamError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, refused)


def _refusal(error: Exception) -> RefusalError:
    """What an error is to the client."""
    if isinstance(error, StoppedError):  # the lane that stopped it says why; here it lost that race
        return overloaded("expected a running server, got one that is stopping; ask again in a moment")
    if isinstance(error, RefusalError):
        return error
    if isinstance(error, GlesamError):
        status = UNPROCESSABLE if isinstance(error, _CLIENT_ERRORS) else INTERNAL
        return RefusalError(status, " ".join(str(error).split()))
    if isinstance(error, RequestValidationError):
        return RefusalError(UNPROCESSABLE, _first_fault(error.errors()))
    if isinstance(error, HTTPException):
        return RefusalError(error.status_code, _http_text(error), error.headers)
    return RefusalError(INTERNAL, "the server failed on this request, and its log says why; please report it")


def _http_text(error: HTTPException) -> str:
    """The framework's own refusals in the house's words."""
    known = {
        404: "expected an address of this server, got an unknown one; /docs lists them",
        405: "expected another method for this address, got one that it does not know; /docs lists them",
        400: "expected a request in JSON, got one that cannot be read; see /docs",
    }
    return known.get(error.status_code, " ".join(str(error.detail).split()))


def _first_fault(faults: Any) -> str:
    """The first fault of a request, as place, what is wrong, what came."""
    fault = faults[0]
    place = ".".join(str(part) for part in fault["loc"] if part != "body") or "request"
    if fault["type"] == "json_invalid":
        return f"expected a request in JSON, got one that is not ({fault['ctx']['error']}); see /docs"
    if isinstance(fault["input"], bytes):
        return "expected the header 'Content-Type: application/json', got another or none; send JSON with it"
    if fault["type"] == "extra_forbidden":
        name = str(fault["loc"][-1])
        return f"{_short(place)}: unknown key; {hint(name, _KNOWN_KEYS, '/docs lists the known ones')}"
    if fault["type"] == "missing":
        return f"expected {place}, got none; see /docs"
    return f"{place}: {fault['msg']}, got {_short(repr(fault['input']))}; see /docs"


_KNOWN_KEYS = (
    *("id", "image", "objects", "points", "labels", "box", "multimask", "enhance", "format"),
    *("examples", "threshold", "size", "counts", "text"),
    *("points_per_side", "level", "kind", "severity", "seed"),
)


def _short(text: str) -> str:
    """At most 60 characters, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
