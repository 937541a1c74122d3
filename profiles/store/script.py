"""The script that writes a profile."""

from hashlib import sha1
from typing import Final

# KEYS: 1 profile, 2 tail.
# ARGV: 1 the eight bytes of the revision that was read, empty if there was none; 2 the new value; 3 its expiry, Unix
#       time in ms; 4 what happens to the tail: keep, set or delete; 5 the new tail; 6 the channel; 7 the announcement;
#       8 the header of an attached value, empty if the value must not be attached.
# Returns 0 refused, 1 written, 2 written but not announced.
#
# Because of the line `#!lua`, the server refuses the whole script when it is out of memory, so that nothing is written
# in part. SET deletes a profile whose expiry has passed. A value that is too short for a revision, or whose revision is
# 0, counts as absent, and the next write replaces it. The value is attached to the announcement only if the channel has
# subscribers on this server, because publishing sends it to the replicas once more. Subscribers that are not counted,
# because they are on a replica or because this user may not count them, have to read the profile.
_SCRIPT: Final = """#!lua
local stored = server.call('GETRANGE', KEYS[1], 0, 7)
if #stored < 8 or stored == string.rep('\\0', 8) then stored = '' end
if stored ~= ARGV[1] then return 0 end
server.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
if ARGV[4] == 'set' then
  server.call('SET', KEYS[2], ARGV[5], 'PXAT', ARGV[3])
elseif ARGV[4] == 'delete' then
  server.call('DEL', KEYS[2])
else
  server.call('PEXPIREAT', KEYS[2], ARGV[3])
end
local announcement = ARGV[7]
if ARGV[8] ~= '' then
  local listeners = server.pcall('PUBSUB', 'NUMSUB', ARGV[6])
  if (listeners[2] or 0) > 0 then announcement = announcement .. ARGV[8] .. ARGV[2] end
end
local published = server.pcall('PUBLISH', ARGV[6], announcement)
if type(published) == 'table' then return 2 end
return 1
"""

REFUSED: Final = 0
WRITTEN: Final = 1
UNANNOUNCED: Final = 2


def script(*, cluster: bool) -> str:
    """The script's text. In a cluster it publishes within the shard."""
    if not cluster:
        return _SCRIPT
    return _SCRIPT.replace("'PUBLISH'", "'SPUBLISH'").replace("'NUMSUB'", "'SHARDNUMSUB'")


def digest(text: str) -> str:
    """The name under which the server caches a script."""
    return sha1(text.encode(), usedforsecurity=False).hexdigest()
