"""A trace receiver for the local fleet: stores the latest traces and shows them as trees.

It receives OTLP over HTTP (protobuf) and stores spans in memory.
"""
