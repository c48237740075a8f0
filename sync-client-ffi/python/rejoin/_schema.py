"""Schemas of collections: what documents are made of, version by version."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, Union

from . import _values
from ._native import rejoin as _native
from ._paths import Path, pointer
from ._values import Value

Migrate: TypeAlias = Callable[[Any, "Migration"], object]
"""Gets a document as plain values, as ``json.loads`` gives them, and writes what the new version makes of it."""


class Migration:
    """What a migration writes: nothing but what comes to the same where two devices do it at once."""

    def __init__(self) -> None:
        self._ops: list[_native.EditOp] = []

    def put(self, path: Path, value: Value) -> Migration:
        """Sets a key of a map, or replaces an element of a list, by a plain value."""
        _values.check(value)
        self._ops.append(_native.EditOp.PUT(pointer(path), value))
        return self

    def delete(self, path: Path) -> Migration:
        """Removes a key of a map, or an element of a list. What older apps still write there is lost with it."""
        self._ops.append(_native.EditOp.DELETE(pointer(path)))
        return self


class _Migrating(_native.DocumentMigration):  # type: ignore[misc]
    def __init__(self, migrate: Migrate) -> None:
        self._migrate = migrate

    def migrate(self, version: int, json: str) -> list[_native.EditOp]:
        edit = Migration()
        try:
            self._migrate(_loads(json), edit)
        except _native.RejoinError:
            raise
        except Exception as error:
            raise _native.RejoinError.Other(f"{type(error).__name__}: {error}") from error
        return edit._ops


def _loads(text: str) -> Any:
    return json.loads(text)


class Schema:
    """What the documents of a collection are made of.

    ::

        rejoin.Schema("notes").version({"title": "", "body": rejoin.Text()})

    The maps, lists, texts, counters and first values of a version are the same objects on every device, so devices that make a
    document offline merge. A version that was shipped must stay declared as it was.
    """

    def __init__(self, collection: str) -> None:
        self._collection = collection
        self._versions: list[_native.CollectionVersion] = []

    def version(
        self,
        new: Mapping[str, Value] | Iterable[_native.EditOp] = (),
        *,
        migrate: Migrate | None = None,
        writers_from: int = 0,
    ) -> Schema:
        """The next version: the fields that are new in it, and what it makes of the content of older documents.

        ``migrate`` must not call the client. From this version on, apps below version ``writers_from`` may only read.
        """
        if isinstance(new, Mapping):
            ops = []
            for key, value in sorted(new.items()):
                _values.check(value)
                ops.append(_native.EditOp.PUT(pointer((key,)), value))
        else:
            ops = list(new)
        migration = None if migrate is None else _Migrating(migrate)
        self._versions.append(_native.CollectionVersion(structure=ops, writers_from=writers_from, migration=migration))
        return self

    def declared(self) -> _native.CollectionSchema:
        """As the library takes it."""
        return _native.CollectionSchema(collection=self._collection, versions=list(self._versions))


def of(schemas: Iterable[Schema | _native.CollectionSchema]) -> list[_native.CollectionSchema]:
    return [schema.declared() if isinstance(schema, Schema) else schema for schema in schemas]
