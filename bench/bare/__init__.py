"""What the engine is measured against: the least that a Django project does for the same, on the same servers."""
