"""What benchmarks/randomness.py tests, and how it writes the document."""
