"""Commands of the command line, which `__main__` puts together."""
