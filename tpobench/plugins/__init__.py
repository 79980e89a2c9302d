"""Code of users: files named with --plugin, and what installed packages bring.

load          read, run and register
beside        the files beside a plugin that it imports
check         a plugin is tried in a child process before it runs here
installed     entry points of installed packages, by name
undisturbed   what its code does to the process is undone
"""
