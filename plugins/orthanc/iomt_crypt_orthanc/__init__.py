"""iomt-crypt in Orthanc: images are encrypted before Orthanc stores them, and decrypted for those who may see them.

Two halves that share no interpreter. The **host** half runs inside Orthanc and imports nothing but the standard
library: `option`, `channel`, `pool`, `reception`, `release`, `preview`. The **worker** half runs in processes of an
ordinary Python environment and has the keys: `worker`, `protector`, `quarantine`. Only ``script/iomt_crypt_plugin.py``
imports ``orthanc``.
"""
