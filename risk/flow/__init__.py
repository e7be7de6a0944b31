"""What risk can do: one file per verb, one public function per file."""
