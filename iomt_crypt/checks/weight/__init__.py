"""The trained network that comes with the package, and what is to be known of it."""
