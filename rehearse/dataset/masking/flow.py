"""Blocks through threads: the next one is read while this one is masked and the last one written."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")
_DEPTH = 2
_LOOK_S = 0.2
_TURN_S = 0.0002


@contextmanager
def brisk() -> Iterator[None]:
    """Threads take turns often: one that computes keeps another, which has but to hand the server the next
    piece, waiting for as long as the interpreter lets it, five milliseconds by default.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def ahead(items: Iterable[Item]) -> Iterator[Iterator[Item]]:
    """`items`, made in a thread of their own, at most a few ahead of whoever takes them.

    An error in the making is raised where the item is taken. The thread has ended when the block has.
    """
    making = _Making(items)
    making.thread.start()
    try:
        yield making.taken()
    finally:
        making.stop.set()
        making.thread.join()


class _End:
    def __init__(self, failure: BaseException | None) -> None:
        self.failure = failure


class _Making(Generic[Item]):
    def __init__(self, items: Iterable[Item]) -> None:
        self._items = items
        self._waiting: queue.Queue[Item | _End] = queue.Queue(_DEPTH)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._work, name="mask", daemon=True)

    def taken(self) -> Iterator[Item]:
        while True:
            item = self._waiting.get()
            if not isinstance(item, _End):
                yield item
                continue
            if item.failure is not None:
                raise item.failure
            return

    def _work(self) -> None:
        failure: BaseException | None = None
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:
            failure = error
        self._put(_End(failure))

    def _put(self, item: Item | _End) -> bool:
        """False once nobody takes anything any more."""
        while not self.stop.is_set():
            try:
                self._waiting.put(item, timeout=_LOOK_S)
            except queue.Full:
                continue
            return True
        return False
