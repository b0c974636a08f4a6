"""The DICOM node: takes objects in, encrypts them before it answers, and forwards them."""
