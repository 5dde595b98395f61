"""Folders in S3, as places beside those on a disk: s3://BUCKET/FOLDER[?endpoint_override=HOST:PORT&scheme=http&region=R].

Who asks comes from the environment or the machine's role, never from the address. Whatever may be either kind of place
is opened by `local`, looked for by `exists`, removed by `remove`.
"""

import contextlib
import functools
import os
import posixpath
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from trainables import scratch
from trainables.errors import UserError, first_line, unknown
from trainables.patience import Told, patiently

SCHEME = "s3://"
OPTIONS = ("endpoint_override", "region", "scheme")
REGION = "us-east-1"  # of servers that have none of their own
SECONDS_TO_CONNECT = 5.0
SECONDS_TO_ANSWER = 20.0
TRIES = 3  # of one request
SECONDS_OF_PATIENCE = 3600.0  # while a checkpoint cannot be fetched
CAUSES = {
    r"NO_SUCH_BUCKET|Bucket '.*' not found": "there is no such bucket",
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|EXPIRED|TOKEN|HTTP status 40[13]": "the credentials in the environment"
    " or the role of the machine are missing, or may not do that",
    r"NETWORK_CONNECTION|curlCode|REQUEST_TIMEOUT": "it cannot be reached",
    r"RESOURCE_NOT_FOUND|HTTP status 404": "there is no S3, or no such bucket",
    r"MovedPermanently|HTTP status 301|REDIRECT": "the bucket is in another region: ?region=... names it",
}

_there: set[str] = set()  # folders that this process has seen, and nobody else removes


def is_bucket(place: str | Path) -> bool:
    return str(place).startswith(SCHEME)


def check(name: str, address: str) -> None:
    """UserError where the address is none. name: of the setting that has it."""
    place, _, query = address.partition("?")
    if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/(?!\.{1,2}(/|$))[^/]+)*/?", place):
        raise UserError(f"{name}={address!r}: s3://BUCKET/FOLDER is meant")
    for option, value in parse_qsl(query, keep_blank_values=True):
        if option not in OPTIONS:
            raise unknown("option", option, OPTIONS, f"{name}={address!r}")
        if option == "scheme" and value not in ("http", "https"):
            raise UserError(f"{name}={address!r}: scheme={value!r} is neither http nor https")


def below(place: str, *parts: str) -> str:
    """The place inside that place; of the same kind."""
    if not is_bucket(place):
        return os.path.join(place, *parts)
    path, mark, query = place.partition("?")
    return posixpath.join(path, *parts) + mark + query


def key(place: str) -> str:
    """BUCKET/FOLDER: what pyarrow and Ray call it."""
    return place.partition("?")[0].removeprefix(SCHEME).rstrip("/")


def shown(place: str) -> str:
    """As people read it."""
    return place.partition("?")[0] if is_bucket(place) else place


def filesystem(place: str) -> Any:
    """pyarrow's, with timeouts. OSError where the region of the bucket has to be asked for, and is not told."""
    return _filesystem(key(place).partition("/")[0], place.partition("?")[2])


@functools.cache
def _filesystem(bucket: str, query: str) -> Any:
    from pyarrow import fs

    options = dict(parse_qsl(query))
    known = options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not known:
        known = REGION if "endpoint_override" in options else fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(
        **{**options, "region": known},
        connect_timeout=SECONDS_TO_CONNECT,
        request_timeout=SECONDS_TO_ANSWER,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=TRIES),
        allow_delayed_open=True,  # a small object is one request
    )


def read(place: str) -> bytes | None:
    """An object's content; None where there is no such object."""
    try:
        with filesystem(place).open_input_stream(key(place)) as stream:
            return bytes(stream.read())
    except FileNotFoundError:
        return None


def write(place: str, content: bytes) -> None:
    """An object, whole or not at all; a file where the place is on a disk."""
    if not is_bucket(place):
        Path(place).write_bytes(content)
        return
    with filesystem(place).open_output_stream(key(place)) as stream:
        stream.write(content)


def delete(place: str) -> None:
    """An object, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        filesystem(place).delete_file(key(place))


def listed(place: str) -> list[Any]:
    """pyarrow's FileInfo of everything below the folder."""
    from pyarrow import fs

    found: list[Any] = filesystem(place).get_file_info(
        fs.FileSelector(key(place), recursive=True, allow_not_found=True)
    )
    return found


def move(source: str, target: str) -> None:
    """A folder: copied within S3, object by object, then removed. Where it is cut short the source is still whole."""
    from pyarrow import fs

    here = filesystem(source)
    fs.copy_files(key(source), key(target), source_filesystem=here, destination_filesystem=here)
    remove(source)


def exists(place: str | Path) -> bool:
    """Whether there is such a folder."""
    if not is_bucket(place):
        return Path(place).is_dir()
    if str(place) not in _there:
        from pyarrow import fs

        info = patiently(lambda: filesystem(str(place)).get_file_info(key(str(place))), seconds=SECONDS_TO_ANSWER)
        if info.type != fs.FileType.Directory:
            return False
        seen(str(place))
    return True


def names(place: str) -> set[str]:
    """Of the files in a folder."""
    if not is_bucket(place):
        return set(os.listdir(place))
    return {found.base_name for found in listed(place)}


def folders(place: str, pattern: str) -> list[str]:
    """Those below the place whose path from there matches, part by part."""
    if not is_bucket(place):
        return [str(folder) for folder in Path(place).glob(pattern)]
    root, parts = key(place), pattern.count("/")
    paths = [found.path[len(root) + 1 :] for found in listed(place) if not found.is_file]
    found = [below(place, path) for path in paths if path.count("/") == parts and Path(path).match(pattern)]
    _there.update(found)
    return found


def seen(place: str) -> None:
    """The folder is there: `exists` need not ask."""
    _there.add(place)


def remove(place: str | Path) -> None:
    """The folder, if it is there: of one in S3 with a few requests, however many objects it has."""
    if not is_bucket(place):
        shutil.rmtree(place, ignore_errors=True)
        return
    _there.discard(str(place))
    with contextlib.suppress(FileNotFoundError):
        filesystem(str(place)).delete_dir(key(str(place)))


@contextlib.contextmanager
def local(place: str | Path, told: Told = lambda error: None) -> Iterator[Path]:
    """The folder as one on this machine's disk, inside the block; one in S3 is fetched, and waited for."""
    if not is_bucket(place):
        yield Path(place)
        return
    from pyarrow import fs

    with scratch.folder() as folder:
        patiently(
            lambda: fs.copy_files(key(str(place)), str(folder), source_filesystem=filesystem(str(place))),
            told,
            SECONDS_OF_PATIENCE,
        )
        yield folder


def cause(error: OSError | ValueError) -> str:
    """Why a storage refuses, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next((said for pattern, said in CAUSES.items() if re.search(pattern, str(error))), first_line(error)[:200])
