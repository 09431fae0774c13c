"""The first and the last step of a request: sockets, what is read from HTTP, and what is answered.

`connection` bounds what a client may do, `request` reads the subrequest, `response` renders a decision, `verify` and
`admin` are the two listeners' handlers, `listeners` opens and drains their sockets.
"""
