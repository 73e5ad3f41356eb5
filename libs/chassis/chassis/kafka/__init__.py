"""Events over Kafka: the envelope, the producer, and the consumer loop with its dead letters."""
