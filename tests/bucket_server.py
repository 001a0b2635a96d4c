"""Servers of S3 (moto's) and of Google Cloud Storage (an emulator) on this machine, each with an empty bucket."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fsspec

from objadapt.data import remote


@dataclass
class Bucket:
    """A bucket; `url` begins s3:// or gs://."""

    url: str

    def put(self, name: str, content: bytes) -> str:
        """Store an object; -> its URL."""
        files = fsspec.filesystem(self.url.partition("://")[0])
        files.pipe_file(f"{self.url}/{name}", content)
        files.invalidate_cache()
        return f"{self.url}/{name}"

    def copy(self, folder: Path, prefix: str) -> str:
        """Store every file below a folder; -> the URL of the folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())
        return f"{self.url}/{prefix}"


@contextmanager
def serve_s3(variables: dict[str, str]) -> Iterator[Bucket]:
    """moto's server at the address of `variables`, which are in the environment."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    host, _, port = variables["AWS_ENDPOINT_URL"].removeprefix("http://").partition(":")
    server = ThreadedMotoServer(host, int(port), verbose=False)
    server.start()
    urllib.request.urlopen(urllib.request.Request(f"{variables['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST"))
    remote.known_version.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()  # one that was made before looked elsewhere
    boto3.client("s3").create_bucket(Bucket="clips")
    yield Bucket("s3://clips")
    server.stop()


@contextmanager
def serve_gs(variables: dict[str, str]) -> Iterator[Bucket]:
    """The emulator at the address of `variables`, which are in the environment; it asks for no credentials."""
    import gcsfs
    from gcp_storage_emulator.server import create_server

    host, _, port = variables["STORAGE_EMULATOR_HOST"].removeprefix("http://").partition(":")
    server = create_server(host, int(port), in_memory=True, default_bucket="clips")
    server.start()
    remote.known_version.cache_clear()
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield Bucket("gs://clips")
    server.stop()
