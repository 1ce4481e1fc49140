"""What the page keeps in the browser's storage, in a real Chromium: old databases, trimming, full storage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from page_driver import Person

OLD = 405
"""Entries of a database as version 1 made it: without an index, and five more than are kept."""

MAKE_OLD = """
  (times) => new Promise((done, fail) => {
    const request = indexedDB.open('glesam', 1);
    request.onupgradeneeded = () => ['images', 'tabs'].forEach((name) => request.result.createObjectStore(name));
    request.onsuccess = () => {
      const inside = request.result.transaction('images', 'readwrite');
      times.forEach((time, index) => inside.objectStore('images').put({ objects: [{ id: index }], time }, `k${index}`));
      inside.oncomplete = () => {
        if (!globalThis.holding) request.result.close();
        done(null);
      };
    };
    request.onerror = () => fail(request.error);
  })
"""

WATCH = """
  globalThis.readValues = [];
  for (const kind of [IDBObjectStore, IDBIndex]) {
    for (const name of ['get', 'getAll', 'openCursor']) {
      const real = kind.prototype[name];
      kind.prototype[name] = function (...given) {
        readValues.push(name);
        return real.apply(this, given);
      };
    }
  }
"""
"""Notes every call that loads entries, not keys alone."""

KEEP = "async (key) => (await import('/static/memory.js')).keepImage(key, { objects: [] })"

KEYS = """
  () => new Promise((done) => {
    const request = indexedDB.open('glesam');
    request.onsuccess = () => {
      const all = request.result.transaction('images').objectStore('images').getAllKeys();
      all.onsuccess = () => (request.result.close(), done(all.result));
    };
  })
"""

FULL_ONCE = """
  () => {
    const real = IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = function () {
      IDBObjectStore.prototype.put = real;
      throw new DOMException('full', 'QuotaExceededError');
    };
  }
"""


def old_database(visit: Callable[..., Person], address: str) -> tuple[Person, list[str]]:
    """The page in a browser that has an old database; and the keys of its entries, oldest first."""
    times = np.random.default_rng(2).permutation(OLD).tolist()

    def prepare(page: Any) -> None:
        page.goto(f"{address}/static/icon.svg")
        page.evaluate(MAKE_OLD, times)
        page.add_init_script(WATCH)

    return visit(prepare), [f"k{index}" for index in np.argsort(times)]


def test_an_old_database_is_taken_over_and_trimmed_without_loading_its_entries(
    visit: Callable[..., Person], address: str
) -> None:
    person, oldest_first = old_database(visit, address)
    kept = "async (key) => (await import('/static/memory.js')).keptImage(key)"
    assert person.page.evaluate(kept, "k7")["objects"] == [{"id": 7}]
    person.page.evaluate("readValues.length = 0")
    person.page.evaluate(KEEP, "new")
    assert person.page.evaluate("readValues") == []
    keys = person.page.evaluate(KEYS)
    assert sorted(key for key in keys if key.startswith("k")) == sorted(oldest_first[OLD - 398 :])
    assert len(keys) == 400  # with the new one, for this tab and for any
    assert "new" in keys


def test_where_storage_is_full_the_oldest_make_room(visit: Callable[..., Person], address: str) -> None:
    person, oldest_first = old_database(visit, address)
    person.page.evaluate(FULL_ONCE)
    person.page.evaluate(KEEP, "new")
    keys = person.page.evaluate(KEYS)
    left = [key for key in keys if key.startswith("k")]
    assert len(left) < 0.95 * OLD
    assert sorted(left) == sorted(oldest_first[-len(left) :])
    assert sum(key.endswith("new") for key in keys) == 2


def test_a_tab_with_an_older_page_holds_nothing_up(visit: Callable[..., Person], address: str) -> None:
    held: list[Any] = []

    def prepare(page: Any) -> None:
        held.append(page.context.new_page())
        held[0].goto(f"{address}/static/icon.svg")
        held[0].evaluate("globalThis.holding = true")
        held[0].evaluate(MAKE_OLD, [1])

    person = visit(prepare)
    person.open_example()  # it would wait for what was kept of it
    kept = "async (key) => (await import('/static/memory.js')).keptImage(key)"
    assert person.page.evaluate(kept, "k0") is None
    held[0].close()
    person.until("(async () => Boolean(await (await import('/static/memory.js')).keptImage('k0')))()", 20)
