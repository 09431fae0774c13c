"""Read a configuration's text: YAML, environment variables, named files, and which of several layers wins."""
