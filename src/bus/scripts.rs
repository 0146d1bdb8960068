//! What runs in Redis as one step. All keys of the log share one hash slot.
//!
//! `head` is a hash with the fields `era` and `seq`; `records` is a stream whose ids are `seq-0`.

/// Appends a record and tells everybody.
///
/// KEYS: head, records. ARGV: channel, the caller's era, records to keep, record.
/// Returns era and seq.
pub(super) const APPEND: &str = r"
local era = tonumber(redis.call('HGET', KEYS[1], 'era') or '0')
if era == 0 then
  era = tonumber(ARGV[2]) + 1
  redis.call('HSET', KEYS[1], 'era', era)
end
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], seq .. '-0', 'r', ARGV[4])
if type(added) == 'table' and added.err then
  -- The stream knows of later numbers than the counter: Redis lost writes.
  era = redis.call('HINCRBY', KEYS[1], 'era', 1)
  redis.call('DEL', KEYS[2])
  redis.call('XADD', KEYS[2], seq .. '-0', 'r', ARGV[4])
end
redis.call('PUBLISH', ARGV[1], era .. ' ' .. seq .. ' ' .. ARGV[4])
return {era, seq}
";

/// A sign of life, and a look at the log. Starts a new era if Redis knows less than the caller.
///
/// KEYS: head, records, instances, seen. ARGV: channel, the caller's era, the number it has applied,
/// the record it has there ('' if unknown), its id, its state, milliseconds until it counts as gone.
/// Returns era, seq and the instances with their states.
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
redis.call('HSET', KEYS[3], ARGV[5], ARGV[6])
redis.call('ZADD', KEYS[4], now + tonumber(ARGV[7]), ARGV[5])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now)) do
  redis.call('HDEL', KEYS[3], gone)
  redis.call('ZREM', KEYS[4], gone)
end
return {era, seq, redis.call('HGETALL', KEYS[3])}
";
