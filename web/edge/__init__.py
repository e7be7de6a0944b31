"""Connect, gRPC-Web and JSON over HTTP for every public rpc, off the hot path."""
