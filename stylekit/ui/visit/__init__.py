"""What belongs to one visit: what the browser keeps of it, the tiles of the visitor's photo, the addresses of the tabs, the keys."""
