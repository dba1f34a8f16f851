"""Files that travel into packages as their model/ folder. Each works alone, on Python 3.9 and later."""
