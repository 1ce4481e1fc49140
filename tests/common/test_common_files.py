"""Writing in one step: the target is whole or untouched, whatever happens in between."""

import errno
import hashlib
import os

import pytest

from glesam.common.files import atomic_path, sha256, write_text


def test_target_appears_only_when_the_block_ends_well(tmp_path):
    target = tmp_path / "deep" / "a.png"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.suffix == ".png"
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert [p.name for p in target.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interruption_leaves_the_old_file_and_no_other(tmp_path, error):
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def interrupted():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_says_where(tmp_path):
    def write(name):
        with atomic_path(tmp_path / "a.png"):
            raise OSError(errno.ENOSPC, "No space left on device", name)

    for name in (None, "elsewhere"):
        with pytest.raises(OSError, match="No space left") as caught:
            write(name)
        assert caught.value.filename == (name or str(tmp_path / "a.png"))


def test_new_files_have_ordinary_rights(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    write_text(tmp_path / "ours", "x")
    assert os.stat(plain).st_mode == os.stat(tmp_path / "ours").st_mode


def test_sha256_equals_hashlib(tmp_path):
    content = os.urandom(3 << 20)
    (tmp_path / "blob").write_bytes(content)
    assert sha256(tmp_path / "blob") == hashlib.sha256(content).hexdigest()
