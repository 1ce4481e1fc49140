"""The image of `POST /v1/embed`, in the forms in which programs send files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from glesam.common.documents import parse_json
from glesam.errors import DataError
from glesam.serve.refusals import RefusalError

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIELDS = ("file", "image")
_MOST_FIELDS = 8


async def image_of(request: Request) -> bytes | str:
    """The image that a request sends.

    Returns:
        Encoded bytes: the body itself, or the field `file` (or `image`) of a form; or base64: `image` of JSON.

    Raises:
        RefusalError: 422, the form or the JSON holds no image.
    """
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith("multipart/"):
        return await _of_form(request)
    if kind.startswith("application/json"):
        return _of_json(await request.body())
    return await request.body()


async def _of_form(request: Request) -> bytes:
    try:
        async with request.form(max_files=_MOST_FIELDS, max_fields=_MOST_FIELDS) as form:
            for name in _FIELDS:
                value = form.get(name)
                if isinstance(value, UploadFile):
                    return await value.read()
            raise _absent("a form with a file named file", [f"one with {name}" for name in form])
    except (MultiPartException, HTTPException) as error:  # the second where the first knows its application
        text = error.message if isinstance(error, MultiPartException) else error.detail
        raise RefusalError(422, f"expected a form, got one that cannot be read ({text}); see /docs") from None


def _of_json(body: bytes) -> str:
    """The base64 text in JSON."""
    try:
        document = parse_json(body, "the request")
    except DataError:
        raise RefusalError(422, "expected a request in JSON, got one that is not; see /docs") from None
    if not isinstance(document, dict) or set(document) != {"image"} or not isinstance(document["image"], str):
        keys = document if isinstance(document, dict) else ()
        raise _absent('JSON as {"image": "...base64..."}', [f"the key {str(key)[:40]!r}" for key in keys])
    return document["image"]


def _absent(wanted: str, found: Iterable[str]) -> RefusalError:
    """The refusal of what holds no image, or more than one."""
    return RefusalError(422, f"expected {wanted}, got {', '.join(list(found)[:3]) or 'none'}; see /docs")
