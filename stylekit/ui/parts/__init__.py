"""What the page's tabs are built of: the frame on the wall, pictures that the browser keeps. Each with its script beside it."""
