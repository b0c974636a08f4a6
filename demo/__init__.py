"""The demo: synthetic studies through a live node into a real archive and back. ``python -m demo``."""
