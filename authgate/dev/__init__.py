"""A small issuer and the part of the kube API that the gate talks to, for `authgate dev` and for tests."""
