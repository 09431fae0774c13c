"""The step that tells whether a known sender may pass: policies and identity headers."""
