"""After the decision: tokens that the gate signs itself, so that others can verify who passed. Pure."""
