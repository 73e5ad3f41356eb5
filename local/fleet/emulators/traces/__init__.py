"""Where the services' spans go in the local fleet: received, kept a while, shown as trees.

It speaks OTLP over HTTP (protobuf) as any collector does, and keeps everything in memory.
"""
