"""The Kubernetes objects that a token can name."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import ClassVar, TypeAlias, TypeVar

SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"


def new_uid() -> str:
    """A UID as the API server gives one to every object."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """An account that tokens speak for."""

    resource: ClassVar[str] = "serviceaccounts"
    namespace: str
    name: str
    uid: str = field(default_factory=new_uid)
    deletion: float | None = None

    @property
    def username(self) -> str:
        """The name that the API server knows the account by."""
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
    """A secret that tokens can be bound to; one that holds a legacy token has it in `token`."""

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
    """The objects that exist now, by kind, namespace and name."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], KubeObject] = {}

    def add(self, item: ObjectT) -> ObjectT:
        """Creates the object, or replaces the one of its kind, namespace and name."""
        self._objects[item.resource, item.namespace, item.name] = item
        return item

    def get(self, kind: type[ObjectT], name: str, namespace: str = "") -> ObjectT | None:
        """The object, or None where there is none."""
        found = self._objects.get((kind.resource, namespace, name))
        return found if isinstance(found, kind) else None

    def terminate(self, item: ObjectT, at: float) -> ObjectT:
        """Sets the deletion time, as deleting a pod with a grace period does; the object stays until it is removed."""
        return self.add(replace(item, deletion=at))

    def remove(self, item: KubeObject) -> None:
        """Takes the object away at once; one that is not there is no error."""
        self._objects.pop((item.resource, item.namespace, item.name), None)
