"""Tools besides the running gate: diagnose a setup, explain a decision, test policies, convert, generate snippets."""
