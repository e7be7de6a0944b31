"""Every SQL statement of this service, by noun."""
