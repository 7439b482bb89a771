"""Many pictures at once on the page: many photos by one recipe, and one photo in many ways."""
