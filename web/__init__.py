"""The web face: views and translations only, it calls the same rpcs as everybody."""
