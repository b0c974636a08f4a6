"""Synthetic anatomy: arrays in the units of each modality, made by numpy alone and the same on every run."""
