"""Who gets decrypted objects, and in which form. Runs inside Orthanc: standard library only.

Orthanc asks for names and passwords and lets every registered user in. This module then looks whether the user is one
of ``Users``; a request that did not come in by HTTP with a password (a script, another plug-in) is nobody.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from iomt_crypt_orthanc.pool import WorkerLost
from iomt_crypt_orthanc.reception import Asks

_PLAIN_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_UID = re.compile(r"[0-9.]{1,64}")


class Denied(Exception):  # noqa: N818 - an answer
    """The request is answered with ``status`` and nothing else."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Plain:
    """A decrypted object: its file, and its SOP Instance UID."""

    data: bytes
    sop_instance_uid: str


class Release:
    """Decrypts for those who may see. Thread safe.

    Parameters
    ----------
    pool
        workers with the identities; None: nobody may
    users
        names of those who may
    passwords
        Orthanc's registered users; checked here again, since another plug-in may have replaced Orthanc's own check
    audit
        gets a line for each request, granted or not; UIDs and user names only
    """

    def __init__(
        self,
        pool: Asks | None,
        *,
        users: Sequence[str],
        passwords: Mapping[str, str],
        audit: Callable[[str], None],
        archive_bytes: int,
    ) -> None:
        self._pool = pool
        self._users = frozenset(users)
        self._passwords = dict(passwords)
        self._audit = audit
        self._archive_bytes = archive_bytes

    def authorise(self, headers: Mapping[str, str], *, action: str, target: str) -> str:
        """Name of the user who may do ``action`` with ``target``; both go to the audit line.

        Raises
        ------
        Denied
            401 without a valid name and password, 403 for users that may not.
        """
        user = self._authenticated(headers)
        allowed = user in self._users and self._pool is not None
        shown = user if user and _PLAIN_NAME.fullmatch(user) else "?" if user else "-"
        self._audit(f"audit: {'granted' if allowed else 'denied'} action={action} user={shown} target={target}")
        if not user:
            raise Denied(HTTPStatus.UNAUTHORIZED, "name and password are needed")
        if not allowed:
            raise Denied(HTTPStatus.FORBIDDEN, "this user may not see decrypted objects")
        return user

    def may(self, headers: Mapping[str, str]) -> bool:
        """Whether the caller could have something decrypted; writes no audit line."""
        return self._pool is not None and self._authenticated(headers) in self._users

    def decrypt(self, data: bytes) -> Plain:
        """The original of a stored file; a plain one, stored before the plug-in was there, as it is.

        Raises
        ------
        Denied
            500 when it does not decrypt, 503 when no worker runs.
        """
        if self._pool is None:
            raise Denied(HTTPStatus.FORBIDDEN, "this Orthanc has no identity")
        try:
            head, plain = self._pool.ask({"do": "decrypt"}, data)
        except WorkerLost as error:
            raise Denied(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
        if head["verdict"] == "failed":
            raise Denied(HTTPStatus.INTERNAL_SERVER_ERROR, str(head["reason"]))
        uid = str(head["sop_instance_uid"])
        return Plain(data if head["verdict"] == "plain" else bytes(plain), uid)

    def archive(self, files: Iterator[bytes]) -> bytes:
        """A ZIP of the originals, named by SOP Instance UID, not compressed.

        Raises
        ------
        Denied
            413 when it would be larger than the limit; see `decrypt`.
        """
        sink, seen = io.BytesIO(), set[str]()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
            for data in files:
                plain = self.decrypt(data)
                if sink.tell() + len(plain.data) > self._archive_bytes:
                    raise Denied(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {self._archive_bytes} bytes (ArchiveBytes)"
                    )
                name = plain.sop_instance_uid if _UID.fullmatch(plain.sop_instance_uid) else "instance"
                if name in seen:
                    name = f"{name}-{len(seen)}"
                seen.add(name)
                # The time of an entry is not the patient's business: ZIP's first day.
                archive.writestr(zipfile.ZipInfo(f"{name}.dcm"), plain.data)
        return sink.getvalue()

    def _authenticated(self, headers: Mapping[str, str]) -> str:
        """Name of the user whose password is right; empty for anybody else."""
        kind, _, encoded = next((v for k, v in headers.items() if k.lower() == "authorization"), "").partition(" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return ""
        expected = self._passwords.get(user)
        right = isinstance(expected, str) and hmac.compare_digest(expected.encode(), password.encode())
        return user if kind.lower() == "basic" and right else ""
