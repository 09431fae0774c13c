"""The step after verification: whether a policy allows the identity, and the headers that name it to the app. Pure."""
