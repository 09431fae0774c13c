"""`tracing`: where spans are sent, and which requests are recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from authgate.config.models.fields import ConfigModel, collector_url, is_plain_http
from authgate.config.models.files import CertificateFile, ReadableFile, read_text
from authgate.config.problems import Finding

_PACKAGES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.json")
_HEADER: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x20-\x7e]*)")
_PATH: Final = "/v1/traces"


class TracingConfig(ConfigModel):
    """Where spans are sent, and which requests are recorded."""

    endpoint: Annotated[str, StringConstraints(max_length=2048), AfterValidator(collector_url)] = Field(
        default="http://localhost:4318",
        description="The URL of a collector of OTLP over HTTP; without a path, /v1/traces is added.",
    )
    ratio: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="The share of requests without a traceparent that is recorded, 0 to 1. For others, the proxy "
        "decides.",
    )
    ca_file: CertificateFile | None = Field(
        default=None, description="PEM certificates of the collector's CAs; null: the system's."
    )
    headers_file: ReadableFile | None = Field(
        default=None,
        description="A file with headers for the collector, one Name: value on each line, such as a key; needs https.",
    )

    @property
    def url(self) -> str:
        """The URL that spans are posted to."""
        parts = urlsplit(self.endpoint)
        return self.endpoint if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}{_PATH}"

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that are sent with spans."""
        text = "" if self.headers_file is None else read_text(self.headers_file)
        lines = [line.strip() for line in text.splitlines()]
        return tuple((match[1], match[2]) for line in lines if (match := _HEADER.fullmatch(line)))

    def contradictions(self) -> Iterator[Finding]:
        """Yield missing packages, a file without headers, and headers that would be sent without encryption."""
        if not all(map(_installed, _PACKAGES)):
            yield Finding((), "needs the extra 'otel': in a checkout of authgate, run: pip install '.[otel]'")
        if self.headers_file is None:
            return
        lines = [line for line in read_text(self.headers_file).splitlines() if line.strip()]
        if not lines or len(self.headers) != len(lines):
            yield Finding(("headersFile",), "each line must be a header, such as Authorization: Bearer KEY")
        if is_plain_http(self.endpoint):
            yield Finding(("headersFile",), "needs an endpoint with https://, because the headers are secret")


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # a part of its name
        return False
