"""Where live frames come from: cameras, videos, folders, streams."""
