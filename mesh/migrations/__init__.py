"""Tables that the schema of every service begins with."""
