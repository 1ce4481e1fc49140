"""`glesam serve`: the HTTP API and the page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from glesam.cli.common import Enhance, warn
from glesam.cli.segment.choice import Quality, Refine
from glesam.cli.segment.options import EnhancerFolder, HeadMode, HeadName
from glesam.cli.verb_options import VerbOptions, takes
from glesam.common.extras import require
from glesam.errors import ConfigError

if TYPE_CHECKING:
    from glesam.serve.settings import ServerSettings

_LARGEST = 100_000
_MEGABYTE = 2**20


class ServeOptions(VerbOptions):
    """Options of `glesam serve`; `settings` converts them to the units of the server."""

    host: Annotated[str, typer.Option(help="Address to listen on; other than this machine's own asks for a token.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000
    model: Annotated[
        str, typer.Option(help="Name (see 'glesam models'), folder of a saved model, hub id, or .pth/.pt file.")
    ] = "compact"
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto for the fastest there is.")] = "auto"
    enhance: Annotated[Enhance, typer.Option(help="Enhance degraded images, for requests that do not say.")] = (
        Enhance.auto
    )
    enhancer: EnhancerFolder = None
    restore: Annotated[
        str | None,
        typer.Option(
            help="Restore images before the model sees them, see 'glesam segment --help'.", metavar="NAME[:ARGUMENT]"
        ),
    ] = None
    head: HeadName = None
    head_mode: HeadMode = None
    refine: Annotated[
        Refine, typer.Option(help="Refine masks (auto) or give the decoder's (off), for requests that do not say.")
    ] = Refine.auto
    quality: Annotated[Quality, typer.Option(help="fast, standard or high, for all requests.")] = Quality.standard
    token: Annotated[
        str | None,
        typer.Option(
            envvar="GLESAM_TOKEN",
            show_envvar=True,
            help="Bearer token to ask for. Others on this machine can read options: better set the variable.",
        ),
        Field(repr=False),
    ] = None
    public_without_token: Annotated[
        bool, typer.Option("--public-without-token", help="Let everybody who can reach --host use the server.")
    ] = False
    threads: Annotated[int | None, typer.Option(help="CPU threads of one computation; all cores if left out.")] = None
    max_megabytes: Annotated[float, typer.Option(help="Largest image file.")] = 20
    max_megapixels: Annotated[float, typer.Option(help="Largest image.")] = 40
    max_objects: Annotated[int, typer.Option(help="Objects in one request.")] = 64
    memory: Annotated[
        float, typer.Option(help="Gigabytes to work on images in, besides about 1 for the model and what is kept.")
    ] = 2
    timeout: Annotated[float, typer.Option(help="Seconds from a whole request to its answer.")] = 60
    grace: Annotated[
        float, typer.Option(help="Seconds from SIGTERM to the end; requests not answered by then get a 503.")
    ] = 25
    queue: Annotated[int, typer.Option(help="Requests accepted at once; further ones get a 503.")] = 64
    cache: Annotated[int, typer.Option(help="Images whose embeddings are kept.")] = 16

    def settings(self) -> ServerSettings:
        """The server's settings.

        Raises:
            ConfigError: an option out of its range, or a host for everybody without a token.
        """
        from glesam.serve.settings import ServerSettings

        self._check_sizes()
        same = {name: getattr(self, name) for name in _SAME}
        return ServerSettings(
            **same,
            enhance=self.enhance.value,
            enhancer=None if self.enhancer is None else str(self.enhancer),
            refine=self.refine.value,
            quality=self.quality.value,
            max_bytes=int(self.max_megabytes * _MEGABYTE),
            max_pixels=int(self.max_megapixels * 1_000_000),
            answer_seconds=self.timeout,
            grace_seconds=self.grace,
            queue_length=self.queue,
            cache_entries=self.cache,
            store_bytes=max(256, int(3 * self.max_megabytes)) * _MEGABYTE,
            upload_bytes=max(256, int(3 * self.max_megabytes)) * _MEGABYTE,
            work_bytes=int(self.memory * 1024) * _MEGABYTE,
        )

    def _check_sizes(self) -> None:
        for name in ("max_megabytes", "max_megapixels", "memory"):
            value = getattr(self, name)
            if not 0 < value < _LARGEST:  # also false for NaN
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(
                    f"expected {option} above 0 and below {_LARGEST}, got {value}; leave it out for a default"
                )


_SAME = (
    "model",
    "device",
    "restore",
    "head",
    "head_mode",
    "threads",
    "host",
    "port",
    "token",
    "public_without_token",
    "max_objects",
)
"""Options that are the server's settings as they are."""


@takes(ServeOptions)
def serve(options: ServeOptions) -> None:
    """Serve the page and the HTTP API, on this machine alone unless told otherwise.

    Stops on Ctrl-C or SIGTERM, after it has answered what it accepted, or refused it with a 503. Exit status: 0
    stopped, 2 wrong use.
    """
    require(("fastapi", "uvicorn", "prometheus_client"), "serve", "serve")
    _run(options.settings())


def _run(settings: ServerSettings) -> None:
    """Serve, and say where."""
    # Two lanes of work share the cores: threads that spin while they wait take them from the other lane. With 64
    # clients 95 % of the clicks took 64 ms at most, in place of 116. It is read once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from glesam.serve.run import serve as run_server

    def ready(address: str) -> None:
        warn(f"glesam: {settings.model} at {address} (addresses: {address}/docs); stop with Ctrl-C")

    run_server(settings, ready)
