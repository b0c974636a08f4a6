"""iomt-crypt: encrypting DICOM gateway and toolkit."""

__version__ = "0.1.0"
