"""The pages for requests that fail."""

import errno
import gc
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.test import Client
from django.urls import reverse

from annotate.accounts.models import Role
from annotate.pools.models import ImportJob
from tests import factories as make


def test_a_static_file_that_is_gone_is_answered_without_the_database() -> None:
    """Few threads serve static files, and a page left open asks for those of an earlier version. No `db` here."""
    client = Client()
    client.cookies["sessionid"] = "of-somebody"
    response = client.get("/static/css/gone.0123456789ab.css")
    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.usefixtures("db", "no_garbage_collection")
def test_a_full_disk_is_named_to_whoever_uploads_a_file(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)

    class Full:
        def __init__(self, file: Any) -> None:
            self.name, self.close = file.name, file.close

        def write(self, _data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    class Stored(TemporaryUploadedFile):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.file = Full(self.file)  # type: ignore[assignment]

    monkeypatch.setattr("django.core.files.uploadhandler.TemporaryUploadedFile", Stored)
    client = Client(raise_request_exception=False)
    client.force_login(make.user(Role.MANAGER))
    file = SimpleUploadedFile("prompts.jsonl", b'{"prompt": "a"}\n' * 200_000)
    response = client.post(
        reverse("studio:import-new", args=[make.pool().id]), {"file": file}, headers={"Accept": accept}
    )
    assert response.status_code == 507
    assert "disk of the server is full" in response.content.decode()
    assert response["Cache-Control"] == "no-store"
    assert not ImportJob.objects.exists()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("db", "no_garbage_collection")
def test_nothing_stays_of_a_file_that_did_not_come_whole(settings: Any, tmp_path: Path) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    client = Client(raise_request_exception=False)
    client.force_login(make.user(Role.MANAGER))
    lines = b'{"prompt": "a"}\n' * 200_000
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="prompts.jsonl"\r\n\r\n'
    stored = []

    class BreaksOff(BytesIO):
        def read(self, *size: Any) -> bytes:
            stored.extend(tmp_path.iterdir())
            if read := super().read(*size):
                return read
            raise ConnectionResetError(errno.ECONNRESET, "the client closed before its request was complete")

    response = client.generic(
        "POST",
        reverse("studio:import-new", args=[make.pool().id]),
        CONTENT_TYPE="multipart/form-data; boundary=b",
        CONTENT_LENGTH=str(2 * len(lines)),
        **{"wsgi.input": BreaksOff(head + lines)},
    )
    assert response.status_code >= 400
    assert stored
    assert not list(tmp_path.iterdir())
