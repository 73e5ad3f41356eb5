"""What the platform is held against: the least that could do the same, written for the purpose."""
