"""Find what would prevent a start, without starting: compose each part and probe the addresses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from authgate.cluster.connection import ExecPlugin
from authgate.compose import CompositionError, compose
from authgate.compose.clusters import connect
from authgate.compose.dependencies import placed
from authgate.compose.headers import header_mapper
from authgate.compose.issuers import issuer_verifier, read_static_keys
from authgate.compose.policies import policy_of
from authgate.compose.tokens import token_issuer
from authgate.config import ClusterConfig
from authgate.server.listeners import ListenError, TLSFiles, tls_context, why_unavailable

if TYPE_CHECKING:
    from authgate.compose import Dependencies
    from authgate.config import Config, TLSConfig
    from authgate.listen_address import ListenAddress

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A problem that prevents a start, with the path of its field.

    `certain` is False if the problem may not exist on the machine where the gate runs.
    """

    path: _Path
    message: str
    certain: bool = True


async def preflight(config: Config, deps: Dependencies) -> list[Obstacle]:
    """Return every obstacle to a start. No request is sent, no port is opened, and no program is run."""
    found: list[Obstacle] = []
    for path, part in _parts(config, deps):
        _collect(found, path, part)
    reachable = []
    for path, cluster in _clusters(config):
        obstacles = await _cluster_obstacles(path, cluster, deps)
        found += obstacles
        if not obstacles:
            reachable.append(cluster)
    if not any(obstacle.certain for obstacle in found):
        found += await _whole(config.model_copy(update={"cluster": tuple(reachable) or None}), deps)
    return [*found, *_addresses(config)]


def _parts(config: Config, deps: Dependencies) -> Iterator[tuple[_Path, Callable[[], object]]]:
    yield (), lambda: token_issuer(config, deps)
    for index, issuer in enumerate(config.jwt):
        yield ("jwt", index), partial(issuer_verifier, issuer, deps, [])
    for name, policy in config.policies.items():
        yield ("policies", name), partial(policy_of, name, policy)
    yield ("headers",), lambda: header_mapper(config.headers, None)
    if config.server.tls is not None:
        yield ("server", "tls"), partial(_tls, config.server.tls, "server.tls")
    if config.exchange is not None and config.exchange.tls is not None:
        yield ("exchange", "tls"), partial(_tls, config.exchange.tls, "exchange.tls")


def _tls(files: TLSConfig, place: str) -> None:
    tls_context(TLSFiles(files.cert_file, files.key_file, files.client_ca_file), place)


def _collect(found: list[Obstacle], path: _Path, part: Callable[[], object]) -> None:
    try:
        with placed(*path):
            part()
    except CompositionError as error:
        found.append(Obstacle(error.path, error.reason))
    except ListenError as error:
        found.append(Obstacle(path, str(error).partition(": ")[2]))


def _clusters(config: Config) -> Iterator[tuple[_Path, ClusterConfig]]:
    if isinstance(config.cluster, ClusterConfig):
        yield ("cluster",), config.cluster
    else:
        yield from ((("cluster", index), item) for index, item in enumerate(config.clusters))


async def _cluster_obstacles(path: _Path, item: ClusterConfig, deps: Dependencies) -> list[Obstacle]:
    if item.static_keys is not None:
        found: list[Obstacle] = []
        keys = item.static_keys
        _collect(found, path, lambda: read_static_keys(keys, f"cluster '{item.name}': staticKeys"))
        return found
    if not item.has_api:
        return []
    try:
        with placed(*path):
            client = await connect(item, deps)
    except CompositionError as error:
        if item.kubeconfig is not None:
            return [Obstacle(error.path, error.reason)]
        why = error.reason
        sentence = (
            f"was not found from here, so it was not checked; the gate looks for it where it runs: {why}"
        )
        return [Obstacle(error.path, sentence, certain=False)]
    credential = client.connection.credential
    await client.close()
    if isinstance(credential, ExecPlugin) and not shutil.which(
        credential.command, path=deps.environ.get("PATH")
    ):
        sentence = f"needs the program {credential.command} (exec.command), which is not installed here"
        return [Obstacle((*path, "kubeconfig"), sentence, certain=False)]
    return []


async def _whole(config: Config, deps: Dependencies) -> list[Obstacle]:
    try:
        pipeline = await compose(config, deps)
    except CompositionError as error:
        return [Obstacle(error.path, error.reason)]
    await pipeline.close()
    return []


def _addresses(config: Config) -> Iterator[Obstacle]:
    server = config.server
    places: list[tuple[_Path, ListenAddress | None]] = [
        (("server", "listen", index), address) for index, address in enumerate(server.listen)
    ]
    places += [(("server", "admin"), server.admin), (("server", "grpc"), server.grpc)]
    places.append((("exchange", "listen"), None if config.exchange is None else config.exchange.listen))
    for path, address in places:
        why = None if address is None else why_unavailable(address)
        if why is not None:
            sentence = f"cannot be opened on this machine now: {why}"
            yield Obstacle(path, sentence, certain=False)
