"""What a cipher image looks like, in numbers."""
