"""An embedded issuer and kube API for `authgate dev`; tests build on them in `tests/support`."""
