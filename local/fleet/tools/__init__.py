"""Commands that use a running fleet: demo, dev, doctor, dead letters, catalogue files, logs, ..."""
