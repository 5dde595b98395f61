"""`roadmap-tune report`: one self-contained page of a sweep, verdict first, and a PNG of each figure."""
