"""Checks between the sections of a configuration, and warnings about what is allowed but probably wrong."""
