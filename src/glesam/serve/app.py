"""The application: settings and a model in, an ASGI application out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from glesam import __version__
from glesam.errors import ConfigError
from glesam.serve import pages, refusals, routes
from glesam.serve.guard import Guard
from glesam.serve.metrics import Metrics
from glesam.serve.service import Service
from glesam.serve.settings import ServerSettings

if TYPE_CHECKING:
    from glesam.predict.predictor import Predictor

_SPARE_SECONDS = 5.0
"""For work to notice that it is given up, when the server ends."""


def create_app(settings: ServerSettings, predictor: Predictor | None = None) -> FastAPI:
    """Make the server's application; the model is loaded here.

    Args:
        settings: see `ServerSettings`.
        predictor: use this one's model, enhancer and gate instead of loading `settings.model`.

    Raises:
        ModelError: the model, its enhancer or its head cannot be loaded, or it has no enhancer and `enhance` is "on".
        ConfigError: unknown `enhance`, `dtype`, `restore` or `head_mode`.
    """
    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)
    metrics = Metrics()
    service = Service(settings, predictor or _load(settings), metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close(_SPARE_SECONDS)

    app = FastAPI(
        title="glesam",
        version=__version__,
        description="Segment anything in images of any quality.",
        docs_url=None,  # the framework's own page of the addresses loads its scripts from the network
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    refusals.install(app)
    app.include_router(routes.router)
    pages.add_pages(app)
    paths = [*app.openapi()["paths"], *pages.PATHS]
    app.add_middleware(Guard, settings=settings, metrics=metrics, paths=paths)
    return app


def _load(settings: ServerSettings) -> Predictor:
    from glesam.predict.modes import pick_device
    from glesam.predict.predictor import Predictor
    from glesam.restore.registry import load_restorer

    restorer = load_restorer(settings.restore, pick_device(settings.device))
    if restorer is not None and restorer.by_name:
        raise ConfigError(f"expected a restorer that needs no file names, got {settings.restore}; requests have none")
    return Predictor.from_pretrained(
        settings.model,
        settings.device,
        settings.enhance,
        settings.dtype,
        settings.enhancer,
        restore=restorer,
        refine=settings.refine,
        head=settings.head,
        head_mode=settings.head_mode,
        quality=settings.quality,
    )
