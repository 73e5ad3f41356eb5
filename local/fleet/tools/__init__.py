"""Commands that use a running fleet: demo, dev, doctor, dead letters, logs, seed, traces."""
