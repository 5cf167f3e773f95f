"""Results in an S3 bucket, with boto3 (the optional extra ``s3``)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from worker.errors import JobError, RequestError
from worker.pictures.media import media_type_of
from worker.settings import Settings

_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S, _ATTEMPTS = 10, 60, 3
UPLOADING_S = 120.0
"""How long all results of a job may take, the wait for their turn included."""

_JOB_KEYS = ("endpointUrl", "accessId", "accessSecret", "bucketName")


class StorageError(JobError):
    """A result could not be uploaded."""


@dataclass(frozen=True)
class Bucket:
    """Where results are uploaded to. `name` empty: month and year, as RunPod's SDK names it."""

    endpoint: str
    key: str
    secret: str
    name: str
    expiry_s: int

    @classmethod
    def of(cls, settings: Settings, job: Mapping[str, Any]) -> Bucket | None:
        """The job's own bucket (RunPod's ``s3Config``), else the worker's, else None.

        Raises:
            RequestError: an ``s3Config`` that lacks a key.
        """
        own = job.get("s3Config")
        if own:
            lacking = [key for key in _JOB_KEYS if not (isinstance(own, Mapping) and own.get(key))]
            if lacking:
                raise RequestError(f"s3Config: {', '.join(lacking)} missing")
            endpoint, key, secret, name = (str(own[item]) for item in _JOB_KEYS)
            if not endpoint.startswith(("http://", "https://")):
                raise RequestError("s3Config.endpointUrl: not an http or https address")
            return cls(endpoint, key, secret, name, settings.bucket_expiry_s)
        if settings.bucket_url and settings.bucket_key and settings.bucket_secret:
            return cls(
                settings.bucket_url,
                settings.bucket_key,
                settings.bucket_secret,
                settings.bucket_name,
                settings.bucket_expiry_s,
            )
        return None

    def upload(self, job_id: str, data: bytes | memoryview, extension: str) -> str:
        """Upload an image; answers a presigned URL.

        Raises:
            StorageError: the bucket did not take it.
        """
        name = self.name or time.strftime("%m-%y")
        key = f"{job_id}/{uuid.uuid4().hex[:8]}.{extension}"
        try:
            client = _client(self)
            client.put_object(
                Bucket=name, Key=key, Body=bytes(data), ContentType=media_type_of(extension)
            )
            url: str = client.generate_presigned_url(
                "get_object", Params={"Bucket": name, "Key": key}, ExpiresIn=self.expiry_s
            )
        except ImportError:
            raise StorageError("boto3 is not installed", "install the worker's s3 extra") from None
        except Exception as error:  # botocore's own tree cannot be named without importing it
            raise StorageError(
                f"the bucket {name} did not take a result ({_reason(error)})",
                "check the BUCKET_ variables, or the job's s3Config",
            ) from error
        return url


@lru_cache(maxsize=8)
def _client(bucket: Bucket) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        aws_access_key_id=bucket.key,
        aws_secret_access_key=bucket.secret,
        region_name=_region(bucket.endpoint),
        config=Config(
            signature_version="s3v4",
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            retries={"max_attempts": _ATTEMPTS, "mode": "standard"},
        ),
    )


def _region(endpoint: str) -> str:
    """The region in an address such as ``https://name.s3.eu-west-1.amazonaws.com``."""
    _, found, rest = endpoint.partition(".s3.")
    return rest.partition(".")[0] if found else "us-east-1"


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", type(error).__name__))
    return type(error).__name__
