"""What a sweep's results say, as data: pure functions of Results. report.py puts them in words."""
