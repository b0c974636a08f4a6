"""Makes stanza.json. Run it to add vectors, never to replace those that were released::

PYTHONPATH=tests .venv/bin/python tests/seal/stanza_vectors.py
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from key_material import DAY, NOW, Certified

from iomt_crypt.seal import HpkeIdentity, fingerprint_text
from iomt_crypt.seal import passphrase as locked
from iomt_crypt.seal.kind import registry
from iomt_crypt.seal.kind.x25519 import X25519Identity
from iomt_crypt.seal.share import split_new_identity

FILE = Path(__file__).with_name("stanza.json")
PASSPHRASE = "five words that nobody guesses"


def stanza(recipient, secret: str) -> dict[str, str]:
    epoch_id, epoch_key = secrets.token_bytes(16), secrets.token_bytes(32)
    made = recipient.wrap(epoch_key, epoch_id)
    return {
        "kind": made.kind,
        "identity": secret,
        "fingerprint": made.recipient.hex(),
        "epoch_id": epoch_id.hex(),
        "epoch_key": epoch_key.hex(),
        "body": made.body.hex(),
    }


def share(kind: str) -> dict[str, object]:
    identity, words = split_new_identity(kind, 2, 3)
    return {"identity": identity.secret_text(), "shares": words}


def main() -> None:
    found = []
    for _ in range(3):
        for cls in (HpkeIdentity, X25519Identity):
            identity = cls.generate()
            found.append(stanza(identity.recipient, identity.secret_text()))
    certified = Certified(rsa.generate_private_key(65537, 2048))
    for _ in range(2):
        recipient = registry.parse_recipient(certified.certificate(end=NOW + DAY))
        found.append(stanza(recipient, certified.private()))
    public = registry.parse_identity(certified.private()).recipient
    found.append(stanza(public, certified.private()))
    for log2_n in (4, 10, 17):
        locked._LOG2_N = log2_n
        found.append(stanza(registry.parse_recipient("passphrase:", lambda what: PASSPHRASE.encode()), PASSPHRASE))
    locked._LOG2_N = 4
    identity = HpkeIdentity.generate()
    line = locked.lock(identity.secret_text().encode(), PASSPHRASE.encode())
    texts = [
        {"identity": i.secret_text(), "recipient": str(i.recipient), "fingerprint": fingerprint_text(i.fingerprint)}
        for i in (HpkeIdentity.generate(), X25519Identity.generate())
    ]
    document = {
        "about": "Stanzas, key texts, a locked identity and shares that must open for ever. Test keys only.",
        "stanzas": found,
        "texts": texts,
        "locked": [{"line": line, "passphrase": PASSPHRASE, "identity": identity.secret_text()}],
        "shares": [share("hpke"), share("x25519")],
    }
    with FILE.open("x") as file:
        json.dump(document, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
