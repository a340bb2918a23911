"""The chart as helm renders it: what Kubernetes would be given, and what users are refused."""
