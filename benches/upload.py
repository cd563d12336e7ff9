"""`upload.py FOLDER ENDPOINT BUCKET`: puts the files of a folder into a bucket, two at a time, the largest first."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

PART_BYTES = 64 << 20


def main() -> None:
    folder, endpoint, bucket = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    client = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))
    transfer = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)
    files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: -path.stat().st_size)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda path: client.upload_file(str(path), bucket, f"dump/{path.name}", Config=transfer), files))


if __name__ == "__main__":
    main()
