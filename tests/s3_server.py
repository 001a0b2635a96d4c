"""An S3 server on this machine (moto's), and a bucket in it."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import s3fs
from moto.server import ThreadedMotoServer

from objadapt.data import remote


@dataclass
class Bucket:
    """A bucket; `url` begins s3://."""

    url: str
    client: object

    def put(self, name: str, content: bytes) -> str:
        """Store an object; -> its URL."""
        self.client.put_object(Bucket=self.url.removeprefix("s3://"), Key=name, Body=content)
        return f"{self.url}/{name}"

    def copy(self, folder: Path, prefix: str) -> str:
        """Store every file below a folder; -> the URL of the folder."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())
        return f"{self.url}/{prefix}"


@contextmanager
def serve(variables: dict[str, str]) -> Iterator[Bucket]:
    """The server at the address of `variables`, which are in the environment."""
    host, _, port = variables["AWS_ENDPOINT_URL"].removeprefix("http://").partition(":")
    server = ThreadedMotoServer(host, int(port), verbose=False)
    server.start()
    urllib.request.urlopen(urllib.request.Request(f"{variables['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST"))
    remote.known_version.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()  # one that was made before looked elsewhere
    client = boto3.client("s3")
    client.create_bucket(Bucket="clips")
    yield Bucket("s3://clips", client)
    server.stop()
