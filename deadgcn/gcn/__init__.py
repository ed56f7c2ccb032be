"""The networks, how they are trained side by side, and what is measured of them."""
