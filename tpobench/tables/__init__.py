"""One table, one document, and their writers: terminal, Markdown, LaTeX, HTML, CSV and JSON.

model        document, blocks, tables, entries
readable     objects that show themselves as the command line would
writers      one document, six texts
terminal     text
markdown     Markdown
latex        LaTeX
page         HTML
templates/   that page
vendor/      the libraries that draw in it
exports      CSV and JSON
junit        JUnit XML of any verdict
"""
