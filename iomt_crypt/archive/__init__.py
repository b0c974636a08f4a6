"""Trees of objects: one machinery that walks, journals, spreads and resumes; what is done to an object is an Operation."""
