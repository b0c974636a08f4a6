"""Which extra brings a package that is not installed."""

from __future__ import annotations

_EXTRAS = {
    "archive": ("dask", "distributed", "fsspec"),
    "checks": ("monai", "safetensors", "torch"),
    "escrow": ("shamir_mnemonic",),
    "kms": ("boto3", "botocore"),
    "node": ("pydantic", "pynetdicom", "sqlalchemy"),
    "report": ("jinja2", "matplotlib", "reportlab", "scipy", "skimage"),
    "token": ("pkcs11",),
    "train": ("sklearn",),
}


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Name the extra that has what ``error`` missed; None when no extra has it: then something else is wrong."""
    package = (error.name or "").partition(".")[0]
    return next((extra for extra, packages in _EXTRAS.items() if package in packages), None)
