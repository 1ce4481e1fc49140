"""Digests against hashlib; a file is read again when size or time changed, and only then."""

import hashlib
import os
import time

from glesam.common.fingerprints import Digests


def _old(path, content, seconds=100):
    path.write_bytes(content)
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_digest_is_that_of_the_content(tmp_path):
    assert Digests().of(_old(tmp_path / "a", b"abc")) == hashlib.sha256(b"abc").hexdigest()
    assert Digests().of(tmp_path / "none") == "missing"


def test_what_is_noted_is_not_read_again_until_size_or_time_change(tmp_path):
    path = _old(tmp_path / "a", b"abc")
    first = Digests()
    first.of(path)
    path.write_bytes(b"xyz")  # the same size
    os.utime(path, ns=(0, first.marks[str(path)][1]))
    assert Digests(first.marks).of(path) == hashlib.sha256(b"abc").hexdigest()  # taken from the note, not the file
    os.utime(path, (time.time() - 50,) * 2)
    assert Digests(first.marks).of(path) == hashlib.sha256(b"xyz").hexdigest()


def test_a_touched_file_of_the_same_content_has_the_same_digest(tmp_path):
    path = _old(tmp_path / "a", b"abc")
    first = Digests()
    before = first.joint([path])
    os.utime(path)
    assert Digests(first.marks).joint([path]) == before


def test_a_file_changed_just_now_is_not_trusted(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    first = Digests()
    first.of(path)
    assert first.marks == {}


def test_broken_notes_are_passed_over(tmp_path):
    path = _old(tmp_path / "a", b"abc")
    for mark in (None, [], [3, 4], [3, "4", "d"], {"size": 3}):
        assert Digests({str(path): mark}).of(path) == hashlib.sha256(b"abc").hexdigest()
