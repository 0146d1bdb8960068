//! What runs in Redis as one step. All keys of the log share one hash slot.
//!
//! `head` is a hash with the fields `era` and `seq`; `records` is a stream whose ids are `seq-0`.

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
  redis.call('PUBLISH', ARGV[1], era .. ' ' .. seq .. ' ' .. ARGV[i])
end
return {era, seq}
";

/// A sign of life, and a look at the log. Starts a new era if Redis knows less than the caller.
///
/// It must be able to write: a replica that has lost its master knows the log only as it was. Being
/// full is the one exception, because a Redis that is full still knows everything.
///
/// KEYS: head, records, instances, seen. ARGV: channel, the caller's era, the number it has applied,
/// the record it has there ('' if unknown), its id, its state, milliseconds until it counts as gone.
/// Returns era, seq and the instances with their states, each after the time of its last sign of
/// life in milliseconds.
pub(super) const BEAT: &str = r"
local era = tonumber(redis.call('HGET', KEYS[1], 'era') or '0')
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or '0')
local own, applied = tonumber(ARGV[2]), tonumber(ARGV[3])
local lost = era < own
if era == own and era > 0 then
  lost = seq < applied
  if not lost and applied > 0 and ARGV[4] ~= '' then
    local found = redis.call('XRANGE', KEYS[2], applied .. '-0', applied .. '-0')
    lost = #found > 0 and found[1][2][2] ~= ARGV[4]
  end
end
if lost or era == 0 then
  era = math.max(era, own) + 1
  redis.call('HSET', KEYS[1], 'era', era)
  redis.call('HSETNX', KEYS[1], 'seq', 0)
  redis.call('PUBLISH', ARGV[1], era .. ' 0 ')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, write in ipairs({{'HSET', KEYS[3], ARGV[5], string.format('%d %s', now, ARGV[6])},
                        {'ZADD', KEYS[4], now + tonumber(ARGV[7]), ARGV[5]}}) do
  local written = redis.pcall(unpack(write))
  if type(written) == 'table' and written.err and not string.find(written.err, 'OOM') then return written end
end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now)) do
  redis.call('HDEL', KEYS[3], gone)
  redis.call('ZREM', KEYS[4], gone)
end
return {era, seq, redis.call('HGETALL', KEYS[3])}
";
