"""The lock of the interpreter itself, for state that native threads share.

`serve` imports this module before it patches the standard library. A lock of gevent's loses wake-ups if threads of a
pool wait for it, so `threading.Lock` does not serve there.
"""

from _thread import allocate_lock as native_lock

__all__ = ["native_lock"]
