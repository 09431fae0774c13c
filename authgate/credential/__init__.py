"""Find the one bearer token of a request, or why it has not exactly one. Pure."""
