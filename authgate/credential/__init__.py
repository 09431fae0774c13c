"""The second step of a request: find its one bearer token, or the reason why there is no usable one."""
