"""Where a study is kept, and which of those who work on it are alive."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.storages._rdb.models import TrialUserAttributeModel
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy import event
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from minimand.errors import ArgumentError, FileError
from minimand.files import runs

Place = str | os.PathLike[str] | None
PATIENCE = 60.0
"""Seconds to wait for a lock on an SQLite file, for a server, and for another machine's sign."""
JOURNALS = (".log", ".journal")
SECRET = re.compile(r"(://[^:/]*:).*(?=@)|([?&]passw(?:or)?d=)[^&\s]*")
"""A password in a URL, as people write it."""
_attribute = TrialUserAttributeModel.__table__.c.value_json
_attribute.type = _attribute.type.with_variant(MEDIUMTEXT(), "mysql", "mariadb")
"""MySQL's TEXT would end a curve after some 2,000 points."""


def opened(place: Place) -> BaseStorage:
    """The storage: in memory (None), an SQLite file, a journal file, or a database's URL.

    Several processes of one machine can share an SQLite file. It is set so that a reader never
    blocks a writer and that writers take turns. For a disk that machines share, give a journal
    file (its name ends in .log or .journal) or the URL of a PostgreSQL or MySQL server, for which
    SQLAlchemy needs a driver: psycopg for postgresql+psycopg://, pymysql for mysql+pymysql://.
    A server that goes away is waited for.

    Raises:
        FileError: the file or server cannot be opened.
        ArgumentError: the URL is not understood, or its driver is not installed.
    """
    if optuna.logging.get_verbosity() == optuna.logging.INFO:  # nobody has asked for its voice
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    if place is None:
        return optuna.storages.InMemoryStorage()
    where = os.fspath(place)
    if "://" in where:
        return _database(where, {"pool_pre_ping": True})
    path = Path(where).absolute()
    try:
        if path.suffix in JOURNALS:
            path.touch()
            lock = JournalFileSymlinkLock(str(path), grace_period=5)
            return optuna.storages.JournalStorage(JournalFileBackend(str(path), lock))
        with sqlite3.connect(path, timeout=PATIENCE) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
    except (OSError, sqlite3.Error, ValueError) as error:
        raise FileError(
            f"cannot keep a study in '{where}' ({error}); choose another file"
        ) from None
    return _database(f"sqlite:///{path}", {"connect_args": {"timeout": PATIENCE}})


def absolute(place: Place) -> str | None:
    """The place as a process with another working directory finds it."""
    if place is None:
        return None
    where = os.fspath(place)
    return where if "://" in where else str(Path(where).absolute())


def shown(text: str) -> str:
    """A text without the password of a URL in it.

    >>> shown("--storage=postgresql://me:secret@host/name")
    '--storage=postgresql://me:***@host/name'
    """
    return SECRET.sub(r"\1\2***", text)


def me() -> str:
    """The name of this process among all workers of a study: host and process number."""
    return f"{socket.gethostname()}:{os.getpid()}"


def alive(worker: str, signs: Mapping[str, Any]) -> bool:
    """Whether a worker lives, by its process on this machine and by its last sign of life."""
    host, _, process = worker.rpartition(":")
    if host == socket.gethostname() and not runs(int(process)):
        return False
    last = signs.get(f"alive {worker}")
    return last is None or time.time() - last < PATIENCE


def _database(url: str, options: dict[str, Any]) -> BaseStorage:
    seen = shown(url)
    if re.search("://[^/].*@.*@", url):
        raise ArgumentError(f"cannot use the storage '{seen}': write an @ in a password as %40")
    try:
        storage = _made(lambda: RDBStorage(url, engine_kwargs=options))
    except ImportError as error:
        module = getattr(error.__cause__, "name", None) or "of its driver"
        raise ArgumentError(
            f"the storage '{seen}' needs the module {module}: pip install 'minimand[postgresql]' "
            "for postgresql+psycopg://, 'minimand[mysql]' for mysql+pymysql://"
        ) from None
    except (ValueError, sqlalchemy.exc.ArgumentError) as error:
        raise ArgumentError(f"cannot use the storage '{seen}': {error}") from None
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise FileError(f"cannot open the storage '{seen}' ({reason})") from None
    if url.startswith("sqlite"):
        _take_turns(storage.engine)
    else:
        _be_patient(storage.engine, seen)
    cached = _CachedStorage(storage)
    weakref.finalize(cached, storage.engine.dispose)
    return cached


def _made(make: Callable[[], RDBStorage]) -> RDBStorage:
    """The storage; others may be making the same tables at the same moment."""
    for _ in range(2):
        with suppress(sqlalchemy.exc.OperationalError, sqlalchemy.exc.IntegrityError):
            return make()
        time.sleep(0.2)
    return make()


def _take_turns(engine: Any) -> None:
    """Let every transaction take SQLite's lock at its start, so that none fails half-way."""
    engine.dispose()

    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _be_patient(engine: Any, seen: str) -> None:
    """Wait for a server that is away, and say so if it stays away."""

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, record: Any, arguments: Any, options: Any) -> Any:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(1.0)

    @event.listens_for(engine, "handle_error")
    def away(context: Any) -> None:
        gone = context.is_disconnect or context.connection is None
        if gone and not context.is_pre_ping:
            reason = str(context.original_exception).splitlines()[0]
            raise FileError(f"the storage '{seen}' is away ({reason}); the study can go on later")
