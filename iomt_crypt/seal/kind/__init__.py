"""Kinds of recipients and identities: one module each, found by `registry` from the text a user gives."""
