"""Tokens that authgate signs itself, so that others can verify the identity of a request. Pure."""
