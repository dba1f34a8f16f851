"""Models that come with Tenfold: each a package like any other, deployed with one click."""
