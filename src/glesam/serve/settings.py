"""Settings of the server: the model, where it listens, and how much it takes on at once."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from glesam.errors import ConfigError
from glesam.masks.refine import check_mode
from glesam.predict.quality import check_quality

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""Names by which a server on this machine is called from this machine."""


@dataclass(frozen=True)
class ServerSettings:
    """Settings of one server; every limit is there so that no client can take more than its part.

    Attributes:
        model: preset, folder, hub id or checkpoint, see `glesam.models.registry.load_model`.
        device: "cpu", "cuda", "mps" or "auto".
        enhance: "on", "off" or "auto", for requests that do not say.
        refine: "auto" or "off", for requests that do not say; see `glesam.masks.refine`.
        quality: "fast", "standard" or "high", for all requests.
        dtype: "float32" or "bfloat16", see `glesam.predict.predictor.Predictor`.
        restore: restorer that images go through first, such as "median", see `glesam.restore.registry`; None for none.
        enhancer: folder or name of an enhancer made for the model; None takes the one that ships for it, if any.
        head: another mask head for the model, see `glesam.heads.registry.find_head`; None for the model's own masks.
        head_mode: "sum" or "hq" for heads of the kind "hq"; None for what the head was saved with.
        threads: CPU threads of torch; its own default when None.
        host, port: where to listen; port 0 takes a free one.
        token: bearer token that `/v1` and `/metrics` ask for, or None.
        public_without_token: allow a `host` that other machines can reach although there is no token.
        max_bytes: of one encoded image.
        max_pixels: width times height of one image.
        max_objects: objects in one request.
        max_points: points on one object.
        max_points_per_side: of the grid of everything mode.
        max_mask_pixels: pixels of all masks of one answer together (a byte each, in memory).
        read_seconds: of silence while a request's body arrives.
        upload_seconds: for the whole of a request's body to arrive, however steadily.
        head_seconds: for the head of a request to arrive on an open connection.
        grace_seconds: from SIGTERM to the end: requests not answered by then are refused with 503.
        answer_seconds: from the whole request to its answer.
        queue_length: requests accepted at once; more are refused with 503.
        cache_entries: images whose embeddings are kept.
        store_bytes: encoded images kept, for embedding one again that fell out of the cache.
        upload_bytes: bodies that are arriving, all together.
        work_bytes: memory in which images are decoded and worked on, all requests together.
        max_connections: open at once; beyond it the longest silent one is closed.

    Raises:
        ConfigError: an impossible number, or a host for everybody without a token.
    """

    model: str = "compact"
    device: str = "cpu"
    enhance: str = "auto"
    refine: str = "auto"
    quality: str = "standard"
    dtype: str = "float32"
    restore: str | None = None
    enhancer: str | None = None
    head: str | None = None
    head_mode: str | None = None
    threads: int | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = field(default=None, repr=False)
    public_without_token: bool = False
    max_bytes: int = 20 * 2**20
    max_pixels: int = 40_000_000
    max_objects: int = 64
    max_points: int = 64
    max_points_per_side: int = 64
    max_mask_pixels: int = 2**29
    read_seconds: float = 20.0
    upload_seconds: float = 900.0
    head_seconds: float = 10.0
    grace_seconds: float = 25.0
    answer_seconds: float = 60.0
    queue_length: int = 64
    cache_entries: int = 16
    store_bytes: int = 256 * 2**20
    upload_bytes: int = 256 * 2**20
    work_bytes: int = 2 * 2**30
    max_connections: int = 1000

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"expected {name} of at least 1, got {getattr(self, name)}; leave it out for a default"
                )
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"expected threads of at least 1, got {self.threads}; leave it out for all cores")
        for name in ("read_seconds", "answer_seconds", "upload_seconds", "head_seconds", "grace_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"expected {name} above 0, got {getattr(self, name)}; give seconds")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"expected a port of 0 to 65535, got {self.port}; 0 takes a free one")
        if min(self.store_bytes, self.upload_bytes) < self.max_body:
            raise ConfigError(
                f"expected store_bytes and upload_bytes of at least the largest request, {self.max_body}, got "
                f"{self.store_bytes} and {self.upload_bytes}; raise them or lower max_bytes"
            )
        check_mode(self.refine), check_quality(self.quality)
        self._check_exposure()

    def _check_exposure(self) -> None:
        """No open door to the network by accident."""
        if self.token is not None and (not self.token.isascii() or len(self.token.split()) != 1):
            raise ConfigError("expected a token of ASCII characters without spaces, got another; make one with openssl")
        if not self.is_local and self.token is None and not self.public_without_token:
            raise ConfigError(
                f"expected a token for host {self.host}, which other machines can reach, got none; set GLESAM_TOKEN, "
                "or allow everybody with --public-without-token"
            )

    @property
    def is_local(self) -> bool:
        """Whether `host` can be reached from this machine only."""
        if self.host in LOCAL_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def max_body(self) -> int:
        """Bytes of the largest request: an image in base64, and a megabyte for all else."""
        return self.max_bytes * 4 // 3 + 2**20

    @property
    def max_values(self) -> int:
        """Values in the JSON of one request, with room for spare ones; parsing stays a matter of milliseconds."""
        return 64 + 4 * self.max_objects * (16 + 4 * self.max_points)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that concern a client, by name."""
        names = ("max_bytes", "max_pixels", "max_objects", "max_points", "max_points_per_side", "max_mask_pixels")
        return {name: getattr(self, name) for name in (*names, "read_seconds", "upload_seconds", "answer_seconds")}


_COUNTS = (
    "max_bytes",
    "max_pixels",
    "max_objects",
    "max_points",
    "max_points_per_side",
    "max_mask_pixels",
    "queue_length",
    "cache_entries",
    "store_bytes",
    "upload_bytes",
    "work_bytes",
    "max_connections",
)
