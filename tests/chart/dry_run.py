"""Have an API server admit and validate objects without storing them."""

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.support.helm import Object
from tests.support.kube import ControlPlane


class RefusedError(Exception):
    """The API server would not create an object; the text is its message."""


@dataclass(frozen=True, slots=True)
class Made:
    """An object as the API server would store it, and the warnings about it."""

    object: Object
    warnings: tuple[str, ...]


class DryRun:
    """Creates objects with `dryRun=All` and strict field validation, as the administrator."""

    def __init__(self, plane: ControlPlane) -> None:
        self._url = plane.url
        self._token = plane.admin_user.token
        self._trust = ssl.create_default_context(cafile=plane.ca_file)
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._url,
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=aiohttp.ClientTimeout(total=60),
            connector=aiohttp.TCPConnector(ssl=self._trust),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def create_all(self, objects: Iterable[Object]) -> list[Made]:
        """Return these objects as they would be stored. Raise RefusedError for the first that is rejected."""
        return [await self.create(item) for item in objects]

    async def create(self, item: Object) -> Made:
        """Return this object as it would be stored. Raise RefusedError if it is rejected."""
        path = await self._path(
            item["apiVersion"], item["kind"], item["metadata"].get("namespace", "default")
        )
        params = {"dryRun": "All", "fieldValidation": "Strict"}
        async with self._session.post(path, params=params, json=item) as answer:
            body = await answer.json()
            if answer.status != 201:
                raise RefusedError(f"{item['kind']} {item['metadata']['name']}: {body['message']}")
            return Made(body, tuple(answer.headers.getall("Warning", ())))

    async def _path(self, version: str, kind: str, namespace: str) -> str:
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if version not in self._resources:
            async with self._session.get(base) as answer:
                if answer.status != 200:
                    raise RefusedError(f"the API server has no {version}")
                self._resources[version] = _resources(await answer.json())
        if kind not in self._resources[version]:
            raise RefusedError(f"the API server has no {kind} in {version}")
        plural, namespaced = self._resources[version][kind]
        return f"{base}/namespaces/{namespace}/{plural}" if namespaced else f"{base}/{plural}"


def _resources(document: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    return {
        item["kind"]: (item["name"], item["namespaced"])
        for item in document["resources"]
        if "/" not in item["name"]
    }
