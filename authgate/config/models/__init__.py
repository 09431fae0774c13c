"""The configuration's models: one module per section, each with its fields, bounds and parsed values."""
