"""What others do, written as they write it: never slower than it need be."""
