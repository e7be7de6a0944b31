"""The provider simulator: a payment company in one process, honest about what really moved."""
