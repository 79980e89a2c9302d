"""Suites: files that say what is trained.

load      a packaged suite or a file, with overrides and scale
reading   TOML -> Suite, strictly
model     Suite, Training, Report, Cell
search    the levels of a suite that looks for a breaking point
"""
