"""Escrow: an identity as words on paper, of which any K of N make it again (SLIP-0039, Shamir's secret sharing).

What is shared is a 32-byte seed with two bytes in front that say what it is a seed of, so that the words alone are
enough: 35 for each share. The identity is made from the seed and need never lie in a file.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from iomt_crypt.errors import KeyMaterialError
from iomt_crypt.seal.entry import Entry
from iomt_crypt.seal.keyfile import KeyPair
from iomt_crypt.seal.kind import registry
from iomt_crypt.seal.kind.hpke import HpkeIdentity
from iomt_crypt.seal.kind.x25519 import X25519Identity
from iomt_crypt.seal.recipient import fingerprint_text
from iomt_crypt.seal.secret import read_key_text, write_secret

if TYPE_CHECKING:
    from shamir_mnemonic import Share

GENERATED: dict[str, type[HpkeIdentity]] = {"hpke": HpkeIdentity, "x25519": X25519Identity}
MAX_SHARES = 16  # SLIP-0039

_VERSION = 1
_NUMBERS = {1: "hpke", 2: "x25519"}  # frozen: they are on paper
_SEED_BYTES = 32
_N_WORDS = 35


def split_new_identity(kind: str, threshold: int, n_shares: int) -> tuple[KeyPair, list[str]]:
    """A new identity of a kind in `GENERATED`, and the words of its shares.

    Raises
    ------
    KeyMaterialError
        Numbers out of range (2 <= threshold <= n_shares <= 16), or the library of the extra ``escrow`` is missing.
    """
    if not 2 <= threshold <= n_shares <= MAX_SHARES:
        raise KeyMaterialError(
            f"{threshold} of {n_shares} shares cannot be made",
            hint=f"K of N needs 2 <= K <= N <= {MAX_SHARES}; for one copy, copy the identity file",
        )
    slip39 = _library()
    number = next(n for n, name in _NUMBERS.items() if name == kind)
    seed = secrets.token_bytes(_SEED_BYTES)
    secret = bytes((_VERSION, number)) + seed
    [shares] = slip39.generate_mnemonics(1, [(threshold, n_shares)], secret)
    identity = GENERATED[kind].from_seed(seed)
    if combine(shares[-threshold:]).fingerprint != identity.fingerprint:
        raise KeyMaterialError("the shares that were made do not make the identity again; nothing was written")
    return identity, shares


def combine(shares: Sequence[str]) -> KeyPair:
    """The identity from the words of at least as many shares as it takes.

    Raises
    ------
    KeyMaterialError
        Too few shares, shares of different identities, a wrong word. No word is repeated in the message.
    """
    slip39 = _library()
    parsed = [_parse(slip39, share, f"share {n}") for n, share in enumerate(shares, 1)]
    if not parsed:
        raise KeyMaterialError("no shares given")
    if len({share.common_parameters() for share in parsed}) != 1 or len({s.member_threshold for s in parsed}) != 1:
        raise KeyMaterialError("the shares are not of one identity", hint="compare the fingerprints in the share files")
    needed, different = parsed[0].member_threshold, {share.index: share for share in parsed}
    if len(different) < needed:
        raise KeyMaterialError(f"{len(different)} different shares given, {needed} needed")
    try:
        # Exactly as many as needed: the library refuses more.
        secret = slip39.combine_mnemonics(share.mnemonic() for share in list(different.values())[:needed])
    except (slip39.MnemonicError, ValueError):
        raise KeyMaterialError("the shares do not fit together", hint="is one of them from another ceremony?") from None
    kind = _NUMBERS.get(secret[1])
    if len(secret) != 2 + _SEED_BYTES or secret[0] != _VERSION or kind is None:
        raise KeyMaterialError("the shares are sound, but hold no iomt-crypt identity of a known kind")
    return GENERATED[kind].from_seed(secret[2:])


def write_shares(folder: Path, identity: KeyPair, shares: Sequence[str], *, kind: str, threshold: int) -> list[Path]:
    """Write each share to a new 0600 file in ``folder``: all of them, or none.

    Raises FileExistsError rather than overwrite.
    """
    fingerprint = fingerprint_text(identity.fingerprint)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written: list[Path] = []
    try:
        for n, words in enumerate(shares, 1):
            path = folder / f"{fingerprint}-share-{n}-of-{len(shares)}.txt"
            written.append(path)  # it may be there when the write fails: the folder is made durable last
            write_secret(path, _page(n, words, identity, kind=kind, threshold=threshold, n_shares=len(shares)))
    except BaseException as error:  # Ctrl-C too: K of them are the identity
        for path in written[:-1] if isinstance(error, FileExistsError) else written:
            path.unlink(missing_ok=True)
        raise
    return written


def read_share(path: Path) -> str:
    """The words of a share file, one blank between them. Numbers in front of words, as on a form, are left out."""
    words = _words(line for line in read_key_text(path, secret=True).splitlines() if not line.startswith("#"))
    if not words:
        raise KeyMaterialError(f"{path}: no share in it")
    _parse(_library(), " ".join(words), str(path))
    return " ".join(words)


def holds_share(entries: Sequence[Entry]) -> bool:
    """Whether the entries of a file look like a share: by its comments or, where it was typed, by its length."""
    if not entries or any(registry.find_kind(entry.text) for entry in entries):
        return False
    return "threshold" in entries[0].notes or len(_words(entry.text for entry in entries)) == _N_WORDS


def _words(lines: Iterable[str]) -> list[str]:
    return [word for word in " ".join(lines).lower().split() if not word.rstrip(".").isdigit()]


def _page(number: int, words: str, identity: KeyPair, *, kind: str, threshold: int, n_shares: int) -> str:
    """The file of one share, in rows of five numbered words: made to be copied by hand."""
    listed = [f"{n:2}. {word}" for n, word in enumerate(words.split(), 1)]
    rows = ["  ".join(f"{word:<14}" for word in listed[i : i + 5]).rstrip() for i in range(0, len(listed), 5)]
    head = [
        f"# iomt-crypt share {number} of {n_shares}: any {threshold} of them make the identity. One person, one share.",
        f"# kind: {kind}",
        f"# created: {datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}",
        f"# fingerprint: {fingerprint_text(identity.fingerprint)}",
        f"# index: {number}",
        f"# shares: {n_shares}",
        f"# threshold: {threshold}",
        "# 'iomt-crypt key combine SHARE... -o FILE' makes the identity again.",
    ]
    return "\n".join([*head, *rows]) + "\n"


def _parse(slip39: ModuleType, words: str, name: str) -> Share:
    """One share, checked on its own: its checksum finds up to three wrong words (SLIP-0039, checksum)."""
    from shamir_mnemonic.wordlist import WORD_INDEX_MAP

    listed = words.split()
    unknown = [str(n) for n, word in enumerate(listed, 1) if word not in WORD_INDEX_MAP]
    if unknown:
        raise KeyMaterialError(f"{name}: not in the word list: word {', '.join(unknown[:8])}", hint="read it again")
    if len(listed) != _N_WORDS:
        raise KeyMaterialError(f"{name}: {len(listed)} words, {_N_WORDS} expected")
    try:
        share: Share = slip39.Share.from_mnemonic(words)
    except slip39.MnemonicError:
        raise KeyMaterialError(f"{name}: a word is wrong, or two were exchanged", hint="read it again") from None
    return share


def _library() -> ModuleType:
    try:
        import shamir_mnemonic
    except ImportError:
        raise KeyMaterialError(
            "shares need the package shamir-mnemonic", hint="pip install 'iomt-crypt[escrow]'"
        ) from None
    module: ModuleType = shamir_mnemonic
    return module
