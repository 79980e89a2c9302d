"""Code of users: files named with --plugin.

load          read, run and register
beside        the files beside a plugin that it imports
check         a plugin is tried in a child process before it runs here
undisturbed   what its code does to the process is undone
"""
