"""What is measured, and what takes too long for the tests; each module is run by a make target of its own."""
