"""What `python -m benchmarks.compare` is made of: images, measurements, the document, the picture."""
