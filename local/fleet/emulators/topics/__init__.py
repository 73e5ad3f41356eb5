"""A web page of Kafka's topics, their latest messages and the lag of consumer groups.

It queries the broker on each request and reads a bounded number of messages. It joins no group and
commits no offsets.
"""
