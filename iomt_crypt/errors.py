"""The error tree. Everything iomt-crypt raises on purpose is one of these.

::

    IomtCryptError
    +-- InputError              the input cannot be used as it is
    |   +-- NotDicomError         not a DICOM object
    |   +-- MalformedError        a DICOM object whose structure is wrong or over a limit
    |   +-- UnsupportedError      a sound object of a kind that is not handled yet
    |   +-- NotEncryptedError     no iomt-crypt record in it
    |   +-- AlreadyEncryptedError an iomt-crypt record is in it already
    +-- AuthenticationError     something was changed; deliberately says no more
    +-- NoMatchingIdentityError none of the identities opens the object
    +-- HeaderDriftError        the clear header was changed since encryption
    +-- PlainImageError         what should be encrypted looks plain, or fails another check
    +-- KnownAnswerError        the cipher does not give its known answers, or what it wrote does not come back
    +-- KeyMaterialError        a key file, recipient text or passphrase cannot be used
    +-- ConfigurationError      a configuration file or option is wrong
    +-- NetworkError            a DICOM peer refused, failed or went away
    |   +-- NoContextError        it answers, and takes none of the classes and syntaxes that were proposed
    +-- StorageError            the spool or an output could not be written
        +-- DiskFullError         no room, or the reserve would be touched

A message says what, the value, the limit and where (tag, offset, UID), and never a patient's value.
"""

from __future__ import annotations


class IomtCryptError(Exception):
    """Base of all errors of this package.

    ``hint`` is one line that says what the user can do about it; empty when there is nothing to say.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InputError(IomtCryptError):
    """The input cannot be used as it is."""


class NotDicomError(InputError):
    """The input is not a DICOM object."""


class MalformedError(InputError):
    """The object's structure is wrong, or a declared size is over its limit."""


class UnsupportedError(InputError):
    """The object is sound, but of a kind that is not handled yet."""


class NotEncryptedError(InputError):
    """The object holds no iomt-crypt record."""


class AlreadyEncryptedError(InputError):
    """The object holds an iomt-crypt record already."""


class AuthenticationError(IomtCryptError):
    """Pixels, record or sealed header were changed, or belong to another object.

    One opaque message on purpose: which check failed would be an oracle. ``message`` is for those who make the error
    of another process anew from its text, as PyTorch's data loaders do; this package never gives one.
    """

    def __init__(self, message: str = "authentication failed") -> None:
        super().__init__(
            message,
            hint="the object was damaged or changed after encryption; nothing of it was released",
        )


class NoMatchingIdentityError(IomtCryptError):
    """None of the identities given opens the object.

    ``message`` as for `AuthenticationError`.
    """

    def __init__(self, message: str = "no matching identity") -> None:
        super().__init__(
            message,
            hint="'iomt-crypt inspect' lists the fingerprints of the recipients it was encrypted to",
        )


class HeaderDriftError(IomtCryptError):
    """The clear header was changed since encryption, in a way the chosen mode does not accept."""


class PlainImageError(IomtCryptError):
    """What should be encrypted looks plain or badly encrypted, or fails another check of the guard."""


class KnownAnswerError(IomtCryptError):
    """The cipher of this machine does not give its known answers, or what it encrypted does not come back."""


class KeyMaterialError(IomtCryptError):
    """A key file, recipient text or passphrase cannot be used."""


class ConfigurationError(IomtCryptError):
    """A configuration file or an option is wrong."""


class NetworkError(IomtCryptError):
    """A DICOM peer refused, failed or went away."""


class NoContextError(NetworkError):
    """A DICOM peer answers, and takes none of the presentation contexts that were proposed."""


class StorageError(IomtCryptError):
    """The spool or an output could not be written."""


class DiskFullError(StorageError):
    """There is no room, or writing would go below the reserve."""
