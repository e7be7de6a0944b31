"""The shared runtime: one way to serve, call, batch, store, publish, time and refuse."""
