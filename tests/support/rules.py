"""The rules of Reactive Streams, and which test proves which of them.

Numbers are those of the specification 1.0.4; the words are ours, and say what the rule comes to
in this engine, where a stream has one subscriber and everything but user code runs in one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., Any])

RULES = {
    "1.1": "no more records than requested; a chunk counts as its length, control as nothing",
    "1.2": "fewer records than requested, then the end, is fine",
    "1.3": "signals come one at a time",
    "1.4": "a failure is signalled by on_error",
    "1.5": "a finite stream ends with on_complete",
    "1.6": "behind on_error or on_complete the subscription counts as cancelled",
    "1.7": "nothing follows on_error or on_complete",
    "1.8": "a cancelled subscription falls silent",
    "1.9": "on_subscribe comes first; subscribe does not raise, and refuses None",
    "1.10": "the same subscriber is not served twice",
    "1.11": "a stream has one subscriber: a second one is refused by on_error",
    "2.1": "demand is signalled by request",
    "2.2": "on_next does no work: user code runs later, or elsewhere",
    "2.3": "on_complete and on_error call nothing of the subscription",
    "2.4": "behind on_complete or on_error the subscription counts as cancelled",
    "2.5": "a second subscription is cancelled",
    "2.6": "a subscription that is not needed any more is cancelled",
    "2.7": "request and cancel are called one at a time, in the engine's thread",
    "2.8": "on_next behind a cancel is tolerated",
    "2.9": "on_complete is taken with or without demand before it",
    "2.10": "on_error is taken with or without demand before it",
    "2.11": "what a thread did before it handed a record over is seen by who takes it",
    "2.12": "on_subscribe is called at most once",
    "2.13": "signals return normally, and refuse None",
    "3.1": "request and cancel are called in the engine's thread",
    "3.2": "request may be called within on_subscribe and on_next",
    "3.3": "request within on_next does not recurse",
    "3.4": "request returns at once",
    "3.5": "cancel returns at once, is idempotent, and may come from any thread by message",
    "3.6": "request behind a cancel does nothing",
    "3.7": "cancel behind a cancel does nothing",
    "3.8": "request(n) adds n to the demand",
    "3.9": "request of less than 1 ends in on_error",
    "3.10": "request need not wait to signal; here it never signals before it returns",
    "3.11": "request need not wait to end the stream; here it only does for rule 3.9",
    "3.12": "a cancel reaches the origin of the stream",
    "3.13": "a cancelled publisher drops its reference to the subscriber",
    "3.14": "a publisher whose subscriber cancelled is done, and serves no other",
    "3.15": "cancel returns normally",
    "3.16": "request returns normally",
    "3.17": "demand up to 2**63 - 1 can be registered, and more is no error",
    "4.1": "a processor keeps the rules of both its sides",
    "4.2": "a processor passes a failure on at once",
    "no demand loss": "what was requested long ago is still asked for upstream",
}

PROOFS: dict[str, list[str]] = {number: [] for number in RULES}
"""The tests of each rule, by name; complete once every module of the suite is imported."""


def rule(*numbers: str) -> Callable[[Test], Test]:
    """Note that the decorated test proves these rules."""

    def note(test: Test) -> Test:
        for number in numbers:
            PROOFS[number].append(f"{test.__module__.rpartition('.')[2]}.{test.__qualname__}")
        return test

    return note
