//! What runs in Redis as one step. All keys of the log share one hash slot.
//!
//! `head` is a hash: `id` tells this log from every other, `era` and `seq` count, `calm` and `since`
//! are times in milliseconds, `lost:n` is how far whoever ended era n had come in it, `run` is the
//! run of the server that was looked at last, `roll` is drawn anew whenever an instance comes or goes. `records` is a stream whose ids are `seq-0`. A message on the channel
//! says era and seq, and is no more than a reason to look.

/// Appends records and tells everybody.
///
/// KEYS: head, records. ARGV: channel, the caller's era, records to keep, the last number of an era,
/// one or more records.
/// Returns era and the seq of the last.
pub(super) const APPEND: &str = r"
local era = tonumber(redis.call('HGET', KEYS[1], 'era') or '0')
if era == 0 then
  era = tonumber(ARGV[2]) + 1
  redis.call('HSET', KEYS[1], 'era', era)
end
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or '0')
if seq + #ARGV > tonumber(ARGV[4]) then
  era = redis.call('HINCRBY', KEYS[1], 'era', 1)
  redis.call('HSET', KEYS[1], 'seq', 0)
  redis.call('DEL', KEYS[2])
end
for i = 5, #ARGV do
  seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], seq .. '-0', 'r', ARGV[i])
  if type(added) == 'table' and added.err then
    -- The stream knows of later numbers than the counter: Redis lost writes.
    era = redis.call('HINCRBY', KEYS[1], 'era', 1)
    redis.call('DEL', KEYS[2])
    redis.call('XADD', KEYS[2], seq .. '-0', 'r', ARGV[i])
  end
end
redis.call('PUBLISH', ARGV[1], era .. ' ' .. seq)
return {era, seq}
";

/// A sign of life, and a look at the log: what the caller has yet to apply. Starts a new era if Redis
/// knows less than the caller, or something else in its place, or if nobody can tell.
///
/// It must be able to write: a replica that has lost its master knows the log only as it was. Being
/// full is the one exception, because a Redis that is full still knows everything.
///
/// What the caller says it has applied is registered only if the log has the same record there, so
/// that no receipt is ever given for a record that took the number of a lost one.
///
/// Silent instances are forgotten, but not while Redis was full or away and nobody could speak: then
/// everybody has time to speak first.
///
/// KEYS: head, records, instances, seen. ARGV: channel, the caller's era, the number it has applied,
/// the record it has there ('' if unknown), its id, its position, what else it says of itself,
/// milliseconds until it counts as gone, records wanted, milliseconds of silence that are no accident,
/// a random number (an id for a log that has none, and the roll if an instance comes or goes), whether the
/// instances are wanted, the id of the log that the caller knows (0 for none), the roll that it knows.
/// Returns the log's id, era, seq, whether the log confirms what the caller has applied, whether the
/// caller is registered, how old the registry is in milliseconds, ids and texts of the records that
/// follow, the instances with their states, each after the time of its last sign of life, and the roll.
/// The instances are left out if the caller knows the roll: if each instance read of all others in each
/// heartbeat, their number would count twice.
pub(super) const BEAT: &str = r"
local era = tonumber(redis.call('HGET', KEYS[1], 'era') or '0')
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or '0')
local own, applied = tonumber(ARGV[2]), tonumber(ARGV[3])
local has, lacks = own > 0 and applied == 0, false
if applied > 0 then
  local found = redis.call('XRANGE', KEYS[2], applied .. '-0', applied .. '-0')[1]
  has = found ~= nil and found[2][2] == ARGV[4]
  lacks = seq < applied or (found ~= nil and ARGV[4] ~= '' and not has)
end
local id = redis.call('HGET', KEYS[1], 'id')
-- Of another log nobody can say what it lacks, even if it has come as far.
if era == own and id and ARGV[13] ~= '0' and id ~= ARGV[13] then has, lacks = false, true end
local sound, lost = era == own and has, era < own or (era == own and lacks)
if era > own and lacks then
  -- What the caller has applied since its era was ended here, another Redis took; nobody here knows of it.
  lost = applied > tonumber(redis.call('HGET', KEYS[1], 'lost:' .. own) or '0')
end
if not sound or ARGV[12] == '1' then
  -- A server that was started anew, or took over, may have forgotten the last records. Who has followed the
  -- log so far would miss them; anybody else cannot know, so what was stored before is not trusted.
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
  if run ~= redis.call('HGET', KEYS[1], 'run') then
    lost = lost or not sound
    redis.pcall('HSET', KEYS[1], 'run', run)
  end
end
if era == 0 or not id then
  id = ARGV[11]
  redis.pcall('HSET', KEYS[1], 'id', id)
end
if lost or era == 0 then
  sound, era = false, math.max(era, own) + 1
  local known = tonumber(redis.call('HGET', KEYS[1], 'lost:' .. own) or '0')
  redis.call('HSET', KEYS[1], 'era', era, 'lost:' .. own, math.max(applied, known))
  redis.call('HSETNX', KEYS[1], 'seq', 0)
  redis.call('PUBLISH', ARGV[1], era .. ' 0')
end
-- No further than the counter: what the stream has beyond it is of a log that is lost, or foreign.
local records, bytes = {}, 0
for _, record in ipairs(redis.call('XRANGE', KEYS[2], ((era == own and applied or 0) + 1) .. '-0', seq .. '-0', 'COUNT', ARGV[9])) do
  bytes = bytes + #record[2][2]
  if bytes > 1048576 and #records > 0 then break end
  records[#records + 1] = record[1]
  records[#records + 1] = record[2][2]
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local presence = tonumber(ARGV[8])
local newest = redis.call('ZREVRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2]
local writes = {{'HSET', KEYS[3], ARGV[5], string.format('%d %s %s', now, sound and ARGV[6] or '0', ARGV[7])},
                {'ZADD', KEYS[4], now + presence, ARGV[5]}}
local roll = {'HSET', KEYS[1], 'roll', ARGV[11]}
local since = tonumber(redis.call('HGET', KEYS[1], 'since') or '0')
if not newest or since > now then
  -- Nobody is listed, or the clock of Redis was set back to before it first listed anybody.
  since = now
  writes[3] = {'HSET', KEYS[1], 'since', string.format('%d', now)}
elseif tonumber(newest) < now + presence - tonumber(ARGV[10]) then
  writes[3] = {'HSET', KEYS[1], 'calm', string.format('%d', now + presence)}
end
if since == now or redis.call('HEXISTS', KEYS[3], ARGV[5]) == 0 then writes[#writes + 1] = roll end
local full = false
for _, write in ipairs(writes) do
  local written = redis.pcall(unpack(write))
  if type(written) == 'table' and written.err then
    if not string.find(written.err, 'OOM') then return written end
    full = true
  end
end
if not full and now >= tonumber(redis.call('HGET', KEYS[1], 'calm') or '0') then
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now)) do
    redis.call('HDEL', KEYS[3], gone)
    redis.call('ZREM', KEYS[4], gone)
    redis.call(unpack(roll))
  end
end
local called = redis.call('HGET', KEYS[1], 'roll') or ''
local wanted = ARGV[12] == '1' and (called == '' or called ~= ARGV[14])
return {id, era, seq, sound and 1 or 0, redis.call('HEXISTS', KEYS[3], ARGV[5]), now - since, records,
        wanted and redis.call('HGETALL', KEYS[3]) or {}, called}
";

/// Who takes part, and for how long they have been listed. Both at once: a list that Redis has begun
/// anew must not be taken for the old one, from which the missing were removed.
///
/// KEYS: head, instances.
/// Returns how old the registry is in milliseconds, the instances with their states, and the roll.
pub(super) const REGISTRY: &str = r"
local registry = redis.call('HGETALL', KEYS[2])
local since = tonumber(redis.call('HGET', KEYS[1], 'since') or '0')
local roll = redis.call('HGET', KEYS[1], 'roll') or ''
if since == 0 and #registry == 0 then return {0, registry, roll} end
local time = redis.call('TIME')
-- The clock of Redis may have been set back since.
return {math.max(time[1] * 1000 + math.floor(time[2] / 1000) - since, 0), registry, roll}
";
