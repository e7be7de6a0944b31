"""A demonstration from outside: a small world, real orders, every fault, and the verdict."""
