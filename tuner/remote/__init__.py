"""A sweep on a cluster, from a machine that is no part of it: found, checked, shipped, submitted, followed."""
