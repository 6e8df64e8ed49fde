"""What Redis does in one step: Lua scripts, and the words of the commands that call them.

A topic with a history has two keys: a hash with the epoch and the offset of the last message, and a stream of messages,
whose ids are their offsets. An offset is the time of its message in microseconds, or one more than the last. So a position
that a restored backup of the engine does not know is not taken for another message's, and no entry has to keep its time.
The stream holds one entry more than is replayed: the position that all of it follows.
"""

import hashlib
import typing

#: For how long an epoch is remembered after the last look at a topic whose messages expire, in milliseconds: a client that
#: comes back to a silent topic learns that it has missed nothing. A day more than a week.
REMEMBERED = 8 * 24 * 3600 * 1000

# KEYS: the hash, the stream. ARGV: an epoch if there is none, milliseconds to remember the hash (0: for ever), …
BEGIN = """
local known = redis.call('HMGET', KEYS[1], 'epoch', 'offset')
local epoch, last = known[1], known[2]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if not epoch then
  epoch, last = ARGV[1], string.format('%.0f', now)
  redis.call('HMSET', KEYS[1], 'epoch', epoch, 'offset', last)
  redis.call('DEL', KEYS[2])
end
"""

# Not at the beginning: where the memory is used up, a script is let through once it has written anything.
REMEMBER = """
if ARGV[2] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
"""

# ARGV: … how many entries, milliseconds to keep the stream ('': for ever), the payload, PUBLISH or SPUBLISH. The channel is
# the third key: in a cluster it has to be named.
PUBLISH = (
    BEGIN
    + """
local offset = string.format('%.0f', math.max(now, last + 1))
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('XADD', KEYS[2], last, 'p', '')
end
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], offset, 'p', ARGV[5])
if ARGV[4] ~= '' then
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
redis.call('HSET', KEYS[1], 'offset', offset)
"""
    + REMEMBER
    + """
local position = epoch .. '-' .. offset
redis.call(ARGV[6], KEYS[3], '@' .. position .. ' ' .. ARGV[5])
return position
"""
)

POSITION = (
    BEGIN
    + REMEMBER
    + """
return epoch .. '-' .. last
"""
)

# ARGV: … epoch and offset of the position, milliseconds that a message counts ('': for ever). Returns the last position,
# whether everything since could be found, and offsets and payloads by turns.
MISSED = (
    BEGIN
    + REMEMBER
    + """
local answer = {epoch .. '-' .. last, 0}
if ARGV[3] ~= epoch then
  return answer
end
if ARGV[4] == last then
  answer[2] = 1
  return answer
end
local found = redis.call('XRANGE', KEYS[2], ARGV[4], '+')
if not found[1] or found[1][1] ~= ARGV[4] .. '-0' then
  return answer
end
if ARGV[5] ~= '' and tonumber(string.match(found[2][1], '%d+')) <= now - ARGV[5] * 1000 then
  return answer
end
answer[2] = 1
for index = 2, #found do
  answer[#answer + 1] = string.match(found[index][1], '%d+')
  answer[#answer + 1] = found[index][2][2]
end
return answer
"""
)


class Command:
    """The words of a command, for the first attempt and where the engine does not know its script yet."""

    __slots__ = ("first", "in_full")

    def __init__(self, *words: typing.Any) -> None:
        self.first = self.in_full = words


class Script:
    """A script that the engine runs in one step."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._sha = hashlib.sha1(text.encode()).hexdigest()

    def command(self, keys: "typing.Sequence[str]", *arguments: typing.Any) -> Command:
        """Return the command that runs it."""
        command = Command()
        words = (len(keys), *keys, *arguments)
        command.first = ("EVALSHA", self._sha, *words)
        command.in_full = ("EVAL", self._text, *words)
        return command


publish = Script(PUBLISH)
position = Script(POSITION)
missed = Script(MISSED)
