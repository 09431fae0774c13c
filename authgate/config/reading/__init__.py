"""Read the sources of a configuration: YAML, environment variables, and the merge of both with flags."""
