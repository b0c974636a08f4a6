"""Second implementation of docs/SPEC.md, in plain Python integers, from the standard library alone."""
