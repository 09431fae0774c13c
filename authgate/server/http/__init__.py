"""HTTP, the first and last step of a request: connections, fast lane, reading the subrequest, writing the answer."""
