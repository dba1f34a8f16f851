"""From an object in a notebook to a package: a Truss folder that a worker can load, and what it takes and gives."""
