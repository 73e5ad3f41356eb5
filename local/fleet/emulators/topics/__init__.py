"""The page that shows Kafka's topics, their latest messages and how far each group has come.

It asks the broker when somebody looks, reads a bounded number of messages, and hangs up: it joins
no group, commits nothing, and costs nothing while nobody looks.
"""
