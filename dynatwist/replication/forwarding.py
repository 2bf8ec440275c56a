"""What to do next about a request that this node cannot carry out itself: ask which owner until when, wait, or answer.

The trouble is an owner that was asked and is not heard of: it may have written, and frozen. So:

- An *attempt* is carried out within `ATTEMPT_S` of its sending or never (`IN_DOUBT_S` for all but the first). The end
  of that, and of what its last word may need to get here, is the attempt's *fence*. The next owner is asked only behind
  all fences: two executions of one request never overlap in time, and none comes late.
- All attempts carry the id of the request. An owner that is asked *in doubt*, while an earlier attempt is not accounted
  for, asks the other owners first: when one of them has met the record that the request became already, superseded or
  not, that is the answer.
- All attempts carry one stamp of creation, so that a key created twice by one request was created once; and later ones
  carry a bound on the clocks of the owners asked before, so that what is written now is newer. Whatever supersedes it
  then supersedes the forgotten execution too, when that turns up.
- An answer waits until no other attempt can be carried out any more, also one whose connection was lost meanwhile.
- A request with a condition is for the first owner to decide. If it has no room for this one, that is the answer, since
  it goes on to decide about whatever takes less, and another owner would decide besides it; so it is where its log is
  behind. If it says that it yields to another one (see `dynatwist.cluster.yielding`), the next one is asked.
- If all owners refuse, but one of those asked was not heard of, the truth is that nobody knows. An owner that hangs is
  waited for until it may not carry the request out any more, and no longer: a client does not wait for a frozen node.

What becomes of an attempt:

=============  ============================================  =========================================================
attempt        how                                           what follows
=============  ============================================  =========================================================
asked          `Forwarding.next` said `Ask`                  its fence stands
answered       a result that decides (`Forwarding.answer`)   its fence falls; the result is the answer, behind the rest
refused        nothing was done there                        its fence falls; the next owner is asked
out of date    it knows a newer registry                     its fence falls; it may be asked again
lost           no answer will come                           its fence stands; the request is in doubt for good
=============  ============================================  =========================================================

A read changes nothing: it has no fences, and waits for nobody who may have carried it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .request import Code, Result

FORWARD_TIMEOUT_S = 1.9
"""Every client hears something within two seconds."""
ATTEMPT_S = 0.25
"""With the fence behind it, and the second owner's work, less than the half second for which a client waits at most
while one owner does not answer."""
IN_DOUBT_S = 0.5
"""An owner asked in doubt asks the others first, and has to find out by itself who of them is frozen."""
NOTHING_DONE = (Code.UNAVAILABLE, Code.OVERLOADED, Code.FULL)
"""An owner that says so has not carried the request out; another one may be better off."""
NOBODY = Result(Code.UNAVAILABLE, text="no owner of the key can be reached and is ready")


@dataclass(frozen=True, slots=True)
class Ask:
    """Have an owner carry the request out.

    :ivar node: the owner.
    :ivar attempt_s: for so long from now, and then never.
    :ivar in_doubt: whether it has to find out first what became of earlier attempts.
    :ivar after: the owners of those; what is written now has to be beyond their clocks.
    """

    node: bytes
    attempt_s: float
    in_doubt: bool
    after: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """For whoever was asked, or until a moment, whichever comes first; then ask `Forwarding.next` again.

    :ivar until_s: in the time of `Forwarding.next`.
    :ivar answer_is_known: whether it is only other attempts' fences that are waited for.
    """

    until_s: float
    answer_is_known: bool = False


@dataclass(frozen=True, slots=True)
class Give:
    """The answer; nothing is left to be done."""

    result: Result


Todo = Ask | Wait | Give


def _says_more(result: Result, answer: Result) -> bool:
    """Whether an attempt has written, or may have, where the answer so far is that of one that has not."""
    return result.code is Code.OK or (result.code is Code.UNCERTAIN and answer.code is not Code.OK)


class Forwarding:
    """One request on its way; see the module.

    :param is_write: whether carrying it out twice would matter.
    :param is_conditional: whether two owners that carry out such requests at once would matter.
    :param now_s: monotonic time; all of it ends `FORWARD_TIMEOUT_S` later.
    :param flight_s: how long the last word of an attempt may be under way before its connection counts as lost.
    """

    __slots__ = (
        "_answer",
        "_asked",
        "_fences",
        "_flight_s",
        "_is_conditional",
        "_is_in_doubt",
        "_is_write",
        "_refusal",
        "_tried",
        "until_s",
    )

    def __init__(self, *, is_write: bool, is_conditional: bool, now_s: float, flight_s: float) -> None:
        self._is_write = is_write
        self._is_conditional = is_conditional
        self._flight_s = flight_s
        self.until_s = now_s + FORWARD_TIMEOUT_S
        self._tried: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._fences: dict[bytes, float] = {}
        self._is_in_doubt = False
        self._refusal: Result | None = None
        self._answer: Result | None = None

    # What happened

    def answer(self, node: bytes, result: Result, *, yields: bool = False) -> None:
        """An owner has answered.

        :param yields: whether it lets another owner go first, that can be asked.
        """
        self._account_for(node)
        is_decided = result.code not in NOTHING_DONE
        if result.code in (Code.FULL, Code.OVERLOADED):
            is_decided = self._is_conditional and not yields
        if not is_decided:
            self._refusal = result
        elif self._answer is None or _says_more(result, self._answer):
            self._answer = result

    def refuse(self, node: bytes) -> None:
        """An owner will not carry it out, and has not."""
        self._account_for(node)

    def outdate(self, node: bytes) -> None:
        """An owner knows a newer registry, which is known here too now; it has not carried the request out."""
        self._account_for(node)
        self._tried.discard(node)

    def lose(self, node: bytes) -> None:
        """Nobody will hear what an owner has made of it."""
        self._asked.discard(node)
        self._is_in_doubt = True

    def _account_for(self, node: bytes) -> None:
        self._asked.discard(node)
        self._fences.pop(node, None)

    # What is to be done

    def next(self, now_s: float, candidates: Iterable[bytes], is_reachable: Callable[[bytes], bool]) -> Todo:
        """To be asked at the beginning, after whatever happened, and when it is time.

        :param candidates: the owners that could carry the request out now, best first.
        :param is_reachable: whether an owner that was asked may still be heard of.
        """
        fence_s = max(self._fences.values(), default=now_s) if self._is_write else now_s
        if now_s >= self.until_s:
            return self._give_up()
        if self._answer is not None:
            if now_s >= fence_s:
                return self._give(self._answer)
            return Wait(min(fence_s, self.until_s), answer_is_known=True)
        left = [node for node in candidates if node not in self._tried]
        if not left and not self._asked:
            return self._give_up()
        if not left and (not self._is_write or any(map(is_reachable, self._asked))):
            return Wait(self.until_s)  # whoever was asked will answer
        if now_s < fence_s:
            return Wait(min(fence_s, self.until_s))
        return self._ask(left[0], now_s) if left else self._give_up()

    def _ask(self, node: bytes, now_s: float) -> Ask:
        left_s, in_doubt = self.until_s - now_s, bool(self._fences)
        attempt_s = min(left_s, IN_DOUBT_S if in_doubt else ATTEMPT_S) if self._is_write else left_s
        ask = Ask(node, attempt_s, in_doubt, tuple(self._fences))
        self._tried.add(node)
        self._asked.add(node)
        self._fences[node] = now_s + attempt_s + self._flight_s
        return ask

    def _give_up(self) -> Give:
        return self._give(self._answer or self._refusal or NOBODY)

    def _give(self, result: Result) -> Give:
        if self._is_write and result.code is not Code.OK and (self._asked or self._is_in_doubt):
            text = "an owner of the key did not answer in time; the write may still take effect"
            result = Result(Code.UNCERTAIN, None, result.replicas, text)
        return Give(result)
