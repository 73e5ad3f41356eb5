"""How fast the platform is, and whether it is still right afterwards: `make bench`."""
