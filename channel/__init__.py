"""The channel service: the one door to every provider, the platform's own balances too."""
