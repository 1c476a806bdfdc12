#!/usr/bin/env python3
"""Makes an OCI image archive of one layer out of a folder, with no registry and no daemon. The same folder gives the same bytes.

mkimage.py ARCHIVE.tar NAME:TAG FOLDER [--entrypoint JSON] [--cmd JSON] [--env NAME=VALUE]... [--user UID[:GID]]
"""

import argparse
import hashlib
import io
import json
import os
import tarfile

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("name", help="with a tag")
    parser.add_argument("folder", help="what / is in the image; all of it belongs to root there")
    parser.add_argument("--entrypoint", default="[]", type=json.loads)
    parser.add_argument("--cmd", default="[]", type=json.loads)
    parser.add_argument("--env", action="append", default=[])
    parser.add_argument("--user", default="")
    return parser.parse_args()


def layer(folder):
    """The folder as a tar file. A folder `tmp` is added: it is where volumes are mounted, and programs expect it."""

    def anonymous(entry):
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(tmp)
        for name in sorted(os.listdir(folder)):
            # `add` goes down in sorted order by itself
            tar.add(os.path.join(folder, name), arcname=name, filter=anonymous)
    return content.getvalue()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def descriptor(kind, content, **more):
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest(content), "size": len(content), **more}


def main():
    said = arguments()
    tag = said.name.rsplit(":", 1)[1]
    content = layer(said.folder)
    config = json.dumps({
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Env": [PATH] + said.env,
            "Entrypoint": said.entrypoint,
            "Cmd": said.cmd,
            "User": said.user,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(content)]},
    }).encode()
    manifest = json.dumps({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config),
        "layers": [descriptor("layer.v1.tar", content)],
    }).encode()
    # containerd takes the image's whole name from the first of these, others the tag from the second
    names = {"io.containerd.image.name": said.name, "org.opencontainers.image.ref.name": tag}
    index = json.dumps({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("manifest.v1+json", manifest, annotations=names)],
    }).encode()

    # whoever reads the archive while it is made again sees the old one
    new = f"{said.archive}.{os.getpid()}"
    with tarfile.open(new, "w") as tar:

        def put(name, content):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))

        put("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        put("index.json", index)
        for blob in (manifest, config, content):
            put("blobs/sha256/" + hashlib.sha256(blob).hexdigest(), blob)
    os.rename(new, said.archive)


main()
