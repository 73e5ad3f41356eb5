"""Run one program: start it, watch its readiness, log its output, stop it; find free ports."""
