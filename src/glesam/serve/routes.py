"""The addresses under `/v1`, `/healthz` and `/metrics`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from glesam.serve import schemas
from glesam.serve.service import Service
from glesam.serve.uploads import image_of

router = APIRouter()

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": schemas.ErrorAnswer, "description": text}
    for status, text in {
        400: "The request cannot be read.",
        401: "The token is missing or wrong.",
        404: "The id is unknown: embed the image (again).",
        408: "The body stopped arriving.",
        413: "Too many bytes, or more work than fits in memory.",
        415: "The body is packed in another way than gzip.",
        422: "The image or the prompts are not as expected.",
        503: "Too many requests at once; come again after the seconds in Retry-After.",
        504: "The work took longer than the server's limit.",
    }.items()
}
_ENCODED = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
}
_JSON = {"schema": {"type": "object", "required": ["image"], "properties": {"image": {"type": "string"}}}}
_KINDS = {"application/octet-stream": _ENCODED, "image/*": _ENCODED, "multipart/form-data": _FORM}
_RAW_BODY = {"requestBody": {"required": True, "content": {**_KINDS, "application/json": _JSON}}}
_PNG: dict[int | str, dict[str, Any]] = {
    200: {"description": "The degraded image.", "content": {"image/png": _ENCODED}}
}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.get("/healthz", response_model=schemas.HealthAnswer, summary="Whether the server is there")
async def healthz() -> JSONResponse:
    """Answer as soon as the model is loaded."""
    return JSONResponse({"status": "ok"})


@router.get("/metrics", response_class=PlainTextResponse, summary="Counters for Prometheus")
async def metrics(request: Request) -> PlainTextResponse:
    """Counts, latencies, queues and caches."""
    return PlainTextResponse(_service(request).metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/models", response_model=schemas.ModelsAnswer, summary="The model and the limits")
async def models(request: Request) -> JSONResponse:
    """Say which model answers, whether it has an enhancer, and how large requests may be."""
    service = _service(request)
    predictor, settings = service.predictor, service.settings
    row = {"name": predictor.name, "family": predictor.model.family, "loaded": True}
    row["image_size"] = predictor.model.image_size
    return JSONResponse(
        {
            "models": [row],
            "default": predictor.name,
            "enhancer": predictor.enhancer is not None,
            "gate": predictor.gate is not None or getattr(predictor.enhancer, "gate", None) is not None,
            "enhance": settings.enhance,
            "restore": None if predictor.restorer is None else predictor.restorer.name,
            "head": predictor.model.head_kind,
            "made_by": service.made_by,
            "limits": settings.limits,
        }
    )


@router.post(
    "/v1/embed",
    response_model=schemas.EmbedAnswer,
    responses=_ERRORS,
    openapi_extra=_RAW_BODY,
    summary="Embed an image",
)
async def embed(request: Request) -> JSONResponse:
    """Take an image: its bytes, a form's `file`, or JSON with `image` in base64. Its id saves sending it again."""
    return JSONResponse(await _service(request).embed(await image_of(request)))


@router.post(
    "/v1/segment", response_model=schemas.SegmentAnswer, responses=_ERRORS, summary="Segment what prompts point at"
)
async def segment(request: Request, body: schemas.SegmentRequest) -> JSONResponse:
    """Give one mask for each object, in pixels of the image."""
    return JSONResponse(await _service(request).segment(body))


@router.post("/v1/everything", response_model=schemas.EverythingAnswer, responses=_ERRORS, summary="Segment everything")
async def everything(request: Request, body: schemas.EverythingRequest) -> JSONResponse:
    """Find all objects without prompts."""
    return JSONResponse(await _service(request).everything(body))


@router.post("/v1/text", response_model=schemas.TextAnswer, responses=_ERRORS, summary="Find what words name")
async def text(request: Request, body: schemas.TextRequest) -> JSONResponse:
    """Find the objects that words name; `GET /v1/words` lists the words."""
    return JSONResponse(await _service(request).text(body))


@router.get("/v1/words", response_model=list[str], summary="The words that can be found")
async def words() -> JSONResponse:
    """List what `/v1/text` knows."""
    from glesam.text.offline import bundled

    return JSONResponse(bundled().known)


@router.post("/v1/like", response_model=schemas.LikeAnswer, responses=_ERRORS, summary="Find what looks like examples")
async def like(request: Request, body: schemas.LikeRequest) -> JSONResponse:
    """Find what looks like objects that were marked in other images; nothing is trained."""
    return JSONResponse(await _service(request).like(body))


@router.post("/v1/degrade", response_class=Response, responses={**_ERRORS, **_PNG}, summary="Make an image worse")
async def degrade(request: Request, body: schemas.DegradeRequest) -> Response:
    """Degrade an image; the header `X-Picture-Id` holds an id of the result, which need not be sent again."""
    key, content = await _service(request).degrade(body)
    return Response(content, media_type="image/png", headers={"X-Picture-Id": key})


@router.get("/v1/degradations", response_model=schemas.DegradationsAnswer, summary="The kinds of degradation")
async def degradations() -> JSONResponse:
    """List what `/v1/degrade` takes."""
    from glesam.degrade import lqseg, real, robustseg

    return JSONResponse({"levels": list(lqseg.LEVELS), "kinds": [*robustseg.KINDS, *real.KINDS]})
