"""What the journal knows of the past; each is a question for `Journal.ask`."""

from __future__ import annotations

import sqlalchemy as sa

from iomt_crypt.node.entry import Entry
from iomt_crypt.node.entry import object_table as _object


def sop_classes(connection: sa.Connection) -> list[str]:
    """SOP Class UIDs of all objects that ever came in, the most frequent first."""
    uid, count = _object.c.sop_class_uid, sa.func.count()
    return list(connection.execute(sa.select(uid).group_by(uid).order_by(count.desc(), uid)).scalars())


def is_ours_alone(connection: sa.Connection, entry: Entry) -> bool:
    """Whether what a destination has under the UID of ``entry`` can only be from an earlier attempt with this object.

    Its UID is derived with the site key, so nobody else gives it; no other object of the journal has it and was tried;
    and an attempt with this one was begun whose answer was lost, or which the node did not survive. A UID that was kept
    (``policy.uids``) may be that of the plain original, and a row made from the spool alone does not know its original
    UID: neither is believed.
    """
    if entry.original_sop_instance_uid in (None, entry.sop_instance_uid) or not entry.unanswered:
        return False
    other = sa.select(_object.c.id).where(
        _object.c.sop_instance_uid == entry.sop_instance_uid, _object.c.id != entry.id, _object.c.attempts > 0
    )
    return connection.execute(other.limit(1)).first() is None
