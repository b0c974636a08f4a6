"""Attempts to break the image cipher, whole and in reduced form; docs/CRYPTANALYSIS.md tells what came out.

``python -m benchmarks.cryptanalysis NAME`` runs one of them, without a name it lists them.
"""
