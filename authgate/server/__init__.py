"""The first and the last step of a request: sockets, reading the subrequest, writing the answer.

`http` and `grpc` serve the verify port, `exchange` and `admin` the other two ports. All protocols use `decider` and
`record`. `listeners` opens and drains sockets.
"""
