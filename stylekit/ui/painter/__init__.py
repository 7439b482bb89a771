"""The painter: a photo to paint styles on, by brush or by selecting things. easel.js holds the paint; the other scripts stand on it."""
