"""The models of the configuration: its sections, with their fields, bounds and parsed values."""
