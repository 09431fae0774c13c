"""The Kubernetes objects that a token can name."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeAlias, TypeVar

SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"


def new_uid() -> str:
    """Return a new UID, as the API server gives one to every object."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """An account that tokens identify."""

    resource: ClassVar[str] = "serviceaccounts"
    namespace: str
    name: str
    uid: str = field(default_factory=new_uid)
    deletion: float | None = None

    @property
    def username(self) -> str:
        """The account's user name."""
        return f"{SERVICE_ACCOUNT_PREFIX}{self.namespace}:{self.name}"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that tokens can be bound to; `node` is the name of the node it runs on, if any."""

    resource: ClassVar[str] = "pods"
    namespace: str
    name: str
    service_account: str
    node: str = ""
    uid: str = field(default_factory=new_uid)
    deletion: float | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A node that tokens can be bound to."""

    resource: ClassVar[str] = "nodes"
    namespace: ClassVar[str] = ""
    name: str
    uid: str = field(default_factory=new_uid)
    deletion: float | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that tokens can be bound to; `token` is the legacy token that it holds, or ""."""

    resource: ClassVar[str] = "secrets"
    namespace: str
    name: str
    uid: str = field(default_factory=new_uid)
    deletion: float | None = None
    token: str = field(default="", repr=False)


KubeObject: TypeAlias = ServiceAccount | Pod | Node | Secret
Bindable: TypeAlias = Pod | Node | Secret
ObjectT = TypeVar("ObjectT", bound=KubeObject)


class ObjectStore:
    """The existing objects by kind, namespace and name."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], KubeObject] = {}

    def add(self, item: ObjectT) -> ObjectT:
        """Create an object, or replace the one with the same kind, namespace and name."""
        self._objects[item.resource, item.namespace, item.name] = item
        return item

    def get(self, kind: type[ObjectT], name: str, namespace: str = "") -> ObjectT | None:
        """Return the object, or None if it does not exist."""
        found = self._objects.get((kind.resource, namespace, name))
        return found if isinstance(found, kind) else None

    def terminate(self, item: ObjectT, at: float) -> ObjectT:
        """Set the deletion time, as deleting a pod with a grace period does; the object exists until `remove`."""
        return self.add(replace(item, deletion=at))

    def remove(self, item: KubeObject) -> None:
        """Delete the object immediately; a missing object is not an error."""
        self._objects.pop((item.resource, item.namespace, item.name), None)
