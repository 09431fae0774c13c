"""Tools beside a running gate: examine a setup, explain a decision, test policies, convert, write snippets."""
