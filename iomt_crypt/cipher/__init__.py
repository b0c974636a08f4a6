"""The chaos+CNN image cipher: pure numbers, ``(samples, key, tweak) -> samples`` (docs/SPEC.md).

.. warning::
   Research cipher, and no authentication. Encrypt objects with `iomt_crypt.encrypt_file` or
   `iomt_crypt.encrypt_dataset`, which put AES-256-GCM over its output.
"""

from iomt_crypt.cipher.batch import decrypt_frames, decrypt_frames_into, encrypt_frames, encrypt_frames_into
from iomt_crypt.cipher.frame import Backend, decrypt, decrypt_into, encrypt, encrypt_into, warm_up

__all__ = [
    "Backend",
    "decrypt",
    "decrypt_frames",
    "decrypt_frames_into",
    "decrypt_into",
    "encrypt",
    "encrypt_frames",
    "encrypt_frames_into",
    "encrypt_into",
    "warm_up",
]
