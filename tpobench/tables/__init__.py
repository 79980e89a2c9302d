"""One table, one document, and their writers: terminal, Markdown, LaTeX, HTML, CSV and JSON."""
