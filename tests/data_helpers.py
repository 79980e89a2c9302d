"""A data set of a few bytes, a server that hands out files, and small images in MNIST's format."""

import gzip
import hashlib
import struct
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from tpobench.data.files import CATALOG, DataFile

SIZES = {"train": 30, "t10k": 20}  # images
PIXELS = 6  # a side


def put(path, contents):
    """Write a file, gzipped if it is named so, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(contents) if path.suffix == ".gz" else contents)
    return path


def idx(array):
    """The bytes of an IDX file of unsigned bytes."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def small_mnist():
    """File -> contents: images whose class shows in their brightness, so that there is something to learn."""
    rng = np.random.default_rng(0)
    files = {}
    for part, count in SIZES.items():
        label = (np.arange(count) % 10).astype(np.uint8)
        image = rng.integers(0, 20, (count, PIXELS, PIXELS)) + 20 * label[:, None, None]
        files[f"mnist/{part}-images-idx3-ubyte"] = idx(image.astype(np.uint8))
        files[f"mnist/{part}-labels-idx1-ubyte"] = idx(label)
    return files


def put_mnist(folder, files=None):
    """Small images where those of MNIST belong: a copy that is not the published one."""
    for name, contents in (files or small_mnist()).items():
        put(folder / f"{name}.gz", contents)
    return folder


def publish(monkeypatch, files):
    """Let `files` (name -> contents) be what was published, in this process."""
    for name, contents in files.items():
        dataset, _, file = name.partition("/")
        sha256 = hashlib.sha256(contents).hexdigest()
        monkeypatch.setitem(CATALOG, name, DataFile(dataset, file, sha256, len(contents), ("MNIST/raw",)))


@contextmanager
def serving(answers):
    """A server on this machine: path -> bytes, an HTTP status, or a function of the request handler."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            found = answers.get(self.path, 404)
            if callable(found):
                found(self)
            elif isinstance(found, int):
                self.send_error(found)
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
