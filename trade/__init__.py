"""The trade core: what business lines ask for, and what they are told."""
