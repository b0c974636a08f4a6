"""Image ciphers of the literature, rebuilt to be compared and broken. Research code: never encrypt anything with it."""
