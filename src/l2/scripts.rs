//! What runs in Redis as one step. All keys of one cache key share one hash slot.

/// All of it as one script, whose last argument names the operation; the others follow as described
/// below. A server that knows the script for one operation knows it for all, so that a lease taken
/// late can be freed without a second word.
pub(super) fn all() -> String {
    format!(
        "local operation = ARGV[#ARGV]\nif operation == 'look' or operation == 'read' then {LOOK} \
         elseif operation == 'fill' then {FILL} elseif operation == 'release' then {RELEASE} else {PURGE} end"
    )
}

/// For each key how long its value lives, or else the lease, in one round trip.
///
/// A hit costs one command here. The value itself is read beside the script, in the same transaction (`look`):
/// to take it in and to hand it out again costs Lua more than all the rest. Where there are no transactions of our
/// own, the script returns it as well (`read`, for one key). It is read up to the length that is still of use. All
/// other names are made from the value's, and only if it will not do; they share its hash slot. Numbers come as
/// texts, since Lua is slow in writing them.
///
/// KEYS: values. ARGV: token, milliseconds of a lease, the largest value, and for each key which value will not do:
/// '' if any will, '=' and how it begins, or '!' for one of another type or too large.
/// Returns for each key the milliseconds that its value lives, -1 for ever, or else -2 lease taken, -3 somebody else
/// has it, -4 nobody shall wait; `read` returns the value after that, nil if it is of another type.
const LOOK: &str = r"
local replies = {}
for i = 1, #KEYS do
  local name, useless = KEYS[i], ARGV[3 + i]
  local left = redis.call('PTTL', name)
  if left ~= -2 and useless == '!' then
    local length = redis.pcall('STRLEN', name)
    if type(length) ~= 'number' or length > tonumber(ARGV[3]) then
      -- Neither written by an instance nor fit to be read.
      redis.pcall('UNLINK', name)
      left = -2
    end
  elseif left ~= -2 and useless ~= '' then
    local begins = string.sub(useless, 2)
    if redis.pcall('GETRANGE', name, '0', tostring(#begins - 1)) == begins then left = -2 end
  end
  if left == -2 then
    local base, variant = string.match(name, '^(.*}):v:(.*)$')
    local leased = redis.pcall('SET', base .. ':l:' .. variant, ARGV[1], 'NX', 'PX', ARGV[2])
    if type(leased) == 'table' and leased.err then
      -- Full, or a replica: it still knows what it knows, but nobody can be waited for.
      left = -4
    elseif not leased then
      if redis.call('EXISTS', base .. ':m') == 1 then
        left = -4
      else
        redis.call('SET', base .. ':w', '1', 'PX', ARGV[2])
        left = -3
      end
    end
  end
  replies[i] = left
end
if operation == 'look' then return replies end
local value = redis.pcall('GETRANGE', KEYS[1], '0', ARGV[3])
return { replies[1], type(value) == 'string' and value }
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
