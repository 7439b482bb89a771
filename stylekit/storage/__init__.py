"""Files: where they lie, how they are read when others wrote them, how they are written whole, and digests of them."""
