"""The HTTP listener, first and last step of a request: connections, fast lane, subrequest and answer."""
