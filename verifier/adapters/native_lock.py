"""The lock of the interpreter, for state that native threads share.

`serve` imports this module before it patches the standard library. The patched `threading.Lock` loses wake-ups if
native threads wait for it.
"""

from _thread import allocate_lock as native_lock

__all__ = ["native_lock"]
