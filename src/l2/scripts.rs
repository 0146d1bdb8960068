//! What runs in Redis as one step. All keys of one cache key share one hash slot.

/// All of it as one script, whose last argument names the operation; the others follow as described
/// below. A server that knows the script for one operation knows it for all, so that a lease taken
/// late can be freed without a second word.
pub(super) fn all() -> String {
    format!(
        "local operation = ARGV[#ARGV]\n{LEASE} if operation == 'look' then {LOOK} \
         elseif operation == 'read' then {READ} elseif operation == 'fill' then {FILL} \
         elseif operation == 'release' then {RELEASE} else {PURGE} end"
    )
}

/// Takes the lease of a value that is not there, or that will not do. All other names are made from the value's, and
/// only here; they share its hash slot. ARGV: token, milliseconds of a lease. Returns -2 if it is taken, -3 if
/// somebody else has it, and -4 if nobody shall wait.
const LEASE: &str = r"
local function lease(name)
  local base, variant = string.match(name, '^(.*}):v:(.*)$')
  local leased = redis.pcall('SET', base .. ':l:' .. variant, ARGV[1], 'NX', 'PX', ARGV[2])
  if type(leased) == 'table' and leased.err then
    -- Full, or a replica: it still knows what it knows, but nobody can be waited for.
    return -4
  elseif leased then
    return -2
  elseif redis.call('EXISTS', base .. ':m') == 1 then
    return -4
  end
  redis.call('SET', base .. ':w', '1', 'PX', ARGV[2])
  return -3
end
";

/// For each key how long its value lives, or else the lease, in one step.
///
/// The values are read behind the script, by a command for each in the same write: to take one in and to hand it out
/// again costs Lua more than all the rest. Between the two somebody may store another one. Then its age is judged by
/// the time that the one before had left. If that was less, it passes for older than it is; if it was more, for as old
/// as it was when it was sent to be stored, a moment ago. One that passes for too old is looked at again by `READ`.
///
/// KEYS: values. ARGV: token, milliseconds of a lease.
/// Returns for each key the milliseconds that its value lives, -1 for ever, or what becomes of the lease.
const LOOK: &str = r"
local replies = {}
for i = 1, #KEYS do
  local left = redis.call('PTTL', KEYS[i])
  if left == -2 then left = lease(KEYS[i]) end
  replies[i] = left
end
return replies
";

/// One value, or else the lease, in one step: where a value that is there will not do, and where the library speaks to
/// Redis. The value is read up to the length that is still of use, which tells in the same step what is missing, of
/// another type or too large. Numbers are passed as texts, since Lua is slow in writing them.
///
/// What was seen and will not do is refused only while it lives no longer than it was said to: else it was stored after
/// that was asked, and judged by the time of the one before.
///
/// KEYS: value. ARGV: token, milliseconds of a lease, the largest value, how the value begins that the caller has seen
/// already and that will not do ('' for none), how long that was said to live.
/// Returns the milliseconds that it lives, -1 for ever, or what becomes of the lease; the value, '' with a lease; and
/// whether there was another type (1) or something too large (2), which are gone now, or neither (0).
const READ: &str = r"
local name, seen, unfit = KEYS[1], ARGV[4], 0
local value = redis.pcall('GETRANGE', name, '0', ARGV[3])
if type(value) ~= 'string' and not string.find(value.err, 'WRONGTYPE', 1, true) then return value end
if type(value) ~= 'string' or #value > tonumber(ARGV[3]) then
  -- Neither written by an instance nor fit to be read.
  unfit = type(value) == 'string' and 2 or 1
  redis.pcall('UNLINK', name)
  value = ''
end
if value == '' then return { lease(name), '', unfit } end
local left = redis.call('PTTL', name)
if seen ~= '' and string.sub(value, 1, #seen) == seen and left <= tonumber(ARGV[5]) then
  return { lease(name), '', 0 }
end
return { left, value, 0 }
";

/// Stores a value if the lease still lives and no purge came after the fetch began, frees the lease
/// and wakes who waits.
///
/// What is left of the lease tells how late the command is executed: by so much the value is older,
/// and lives less long, or a Redis that hung would make it younger.
///
/// KEYS: value, lease, tombstone, variants, waiters, pointer, marker. ARGV: token, born, milliseconds
/// to live, value, wake channel, what to say there, pointer ('' for none), milliseconds of a lease,
/// milliseconds since this one was granted when the command was sent.
/// Returns 1 if stored, 0 if the lease was lost, 2 if purged, 3 if Redis would not take it or it has
/// outlived its use.
const FILL: &str = r"
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local late = tonumber(ARGV[8]) - redis.call('PTTL', KEYS[2]) - tonumber(ARGV[9])
local life = tonumber(ARGV[3]) - math.max(late, 0)
local stored = 1
if (redis.call('GET', KEYS[3]) or '') > ARGV[2] then
  stored = 2
elseif life <= 0 then
  stored = 3
else
  local written = redis.pcall('SET', KEYS[1], ARGV[4], 'PX', life)
  if written.err then
    stored = 3
  else
    redis.call('DEL', KEYS[7])
    redis.call('SADD', KEYS[4], KEYS[1])
    if redis.call('PTTL', KEYS[4]) < life then redis.call('PEXPIRE', KEYS[4], life) end
    if ARGV[7] ~= '' then
      redis.call('SET', KEYS[6], ARGV[7], 'PX', life)
      redis.call('SADD', KEYS[4], KEYS[6])
    end
  end
end
redis.call('DEL', KEYS[2])
if redis.call('DEL', KEYS[5]) == 1 then redis.call('PUBLISH', ARGV[5], ARGV[6]) end
return stored
";

/// Frees a lease and wakes who waits.
///
/// KEYS: lease, marker, waiters. ARGV: token, milliseconds during which nobody waits for the key (0
/// for none), wake channel, what to say there.
const RELEASE: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '0' then redis.call('SET', KEYS[2], '1', 'PX', ARGV[2]) end
if redis.call('DEL', KEYS[3]) == 1 then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
return 1
";

/// Deletes every variant of a key and its leases, wakes who waits for them, and refuses fills that
/// began before.
///
/// KEYS: variants, tombstone, marker, lease of what varies on nothing, waiters. ARGV: number of the
/// purge, milliseconds that a fill may be under way, wake channel, what to say there.
const PURGE: &str = r"
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  redis.call('UNLINK', name, (string.gsub(name, ':v:', ':l:', 1)))
end
redis.call('DEL', KEYS[1], KEYS[3], KEYS[4])
if ARGV[1] > (redis.call('GET', KEYS[2]) or '') then redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) end
if redis.call('DEL', KEYS[5]) == 1 then redis.call('PUBLISH', ARGV[3], ARGV[4]) end
return 1
";
