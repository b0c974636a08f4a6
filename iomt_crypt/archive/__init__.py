"""Trees of objects: walk, journal, spread over processes, resume; what is done to an object is an Operation."""
